#pragma once

#include "base/json.h"

#include <google/protobuf/message.h>

namespace penstock::ctl {

/// Appends a message of presence.proto as a JSON object with the fields' own names, all of them:
/// ids (fixed64) as 16 hexadecimal digits, enums as lower-case words, an Endpoint as
/// "10.0.0.1:5000", an address as "10.0.0.1", a Measure as its share; null for a message that is
/// not there and for a share that the driver does not support.
void append_json(JsonWriter& json, const google::protobuf::Message& message);

}  // namespace penstock::ctl
