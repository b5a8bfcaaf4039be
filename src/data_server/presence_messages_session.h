#pragma once

#include "data_server/control_messages.h"

#include <penstock/result.h>

#include <cstdint>
#include <string>

namespace penstock {

namespace v1 {
class DataServerUp;
class DataServerDown;
}  // namespace v1

// Between the control thread's structs and protobuf. Nothing behind presence_session knows the
// latter. What presence sends is checked here: it is refused whole if any part is out of bounds.

v1::DataServerUp to_message(const Hello& hello,
                            std::uint64_t epoch,
                            std::uint64_t generation,
                            std::uint64_t monotonic_ms);
v1::DataServerUp to_message(const LoadReport& report);
v1::DataServerUp to_message(const UpMessage& message);

/// Errors: invalid_argument (not a message of this protocol), denied (presence rejects us).
Result<DownMessage> from_message(const v1::DataServerDown& message, const std::string& presence);

}  // namespace penstock
