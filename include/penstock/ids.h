#pragma once

#include <compare>
#include <cstdint>

namespace penstock {

/// A 64-bit identifier that cannot be mistaken for another kind of identifier. 0 means "none".
template <typename Tag>
struct Id {
    std::uint64_t value = 0;

    auto operator<=>(const Id&) const = default;
    explicit operator bool() const noexcept { return value != 0; }
};

/// A stream: the first 8 bytes of BLAKE2b of its name (wire/ticket.h), so that it is the same
/// before and after a restart of the presence server.
using StreamId = Id<struct StreamIdTag>;
/// A publisher or a consumer, for the life of its process: random, chosen by that process.
using PeerId = Id<struct PeerIdTag>;
/// One consumer's (or the publisher's) entry at a data server: random, chosen by the data server.
using FlowId = Id<struct FlowIdTag>;

}  // namespace penstock
