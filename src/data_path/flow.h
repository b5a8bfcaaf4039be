#pragma once

#include "base/net_address.h"

#include <array>
#include <cstdint>

namespace penstock {

/// What of a copy's headers is its consumer's own, as it lies in a frame. Hot: read once per copy,
/// and small: a cache line holds four. The sums (RFC 1071, not complemented) are of everything in
/// the copy's IPv4 header, and in its UDP and pseudo header, but lengths and payload.
struct alignas(16) FlowHeaders {
    std::array<std::uint8_t, 6> next_hop_mac;
    std::uint16_t udp_port;
    std::uint32_t address;
    std::uint16_t ip_sum;
    std::uint16_t udp_sum;
};
static_assert(sizeof(FlowHeaders) == 16);

/// What all copies that leave by one port have in common: Ethernet, IP and UDP header with zeros
/// for what is in FlowHeaders, the stream's UDP port, the lengths and the checksums. No stream has
/// one of its own: where there are many, that would be one more cache line of each to wait for.
struct alignas(16) CommonHeaders {
    std::array<std::uint8_t, 46> headers{};
    std::uint16_t header_bytes = 0;  // 42: IPv4
};
static_assert(sizeof(CommonHeaders) == 48);

/// What the copies of one stream that leave by one port say they come from.
struct CopySource {
    const CommonHeaders& common;
    std::uint16_t udp_port;  // the stream's, as it lies in a frame
};

/// Where a copy goes and what it says it comes from.
struct FlowAddresses {
    MacAddress source_mac;
    MacAddress next_hop_mac;
    Endpoint source;       // the data server's address, the stream's UDP port
    Endpoint destination;  // the consumer
};

/// Control side. DF set, identification 0 (RFC 6864: atomic datagrams), hop limit 64.
/// IPv4 today; all addresses must be of that family.
CommonHeaders make_common_headers(const MacAddress& source_mac, const IpAddress& source) noexcept;
FlowHeaders make_flow_headers(const FlowAddresses& addresses) noexcept;

}  // namespace penstock
