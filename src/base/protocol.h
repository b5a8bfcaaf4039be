#pragma once

#include <cstdint>

namespace penstock {

/// Versions of the control protocol (rpc/presence.proto) that a program speaks. Each says which
/// when it greets, and both go by the newest that both speak: so presence and data servers are
/// upgraded one after another, in either order. A version only adds to the one before, until the
/// oldest is given up.
struct Protocols {
    std::uint32_t newest;
    std::uint32_t oldest;  // 0 in a greeting: the newest only
};

extern const Protocols kProtocols;

}  // namespace penstock
