#pragma once

#include "base/cache_line.h"
#include "base/net_address.h"
#include "dpdk/port_limits.h"

#include <array>
#include <cstdint>

namespace penstock {

/// Everything in a copy that is the consumer's own: Ethernet, IP and UDP header, ready but for the
/// two lengths and the two checksums, whose fields hold the sum (RFC 1071, not complemented) of
/// what is already known of the flow. Ethernet + IPv6 + UDP fit: 62 bytes. Hot: one cache line per
/// copy.
struct alignas(kCacheLineBytes) FlowTemplate {
    std::array<std::uint8_t, 62> headers;
    std::uint16_t header_bytes;  // 42 with IPv4, 62 with IPv6
};
static_assert(sizeof(FlowTemplate) == kCacheLineBytes && sizeof(FlowTemplate) == kCopyHeaderBytes);

/// Where a copy goes and what it says it comes from.
struct FlowAddresses {
    MacAddress source_mac;
    MacAddress next_hop_mac;
    Endpoint source;       // the data server's address, the stream's UDP port
    Endpoint destination;  // the consumer
};

/// Control side. DF set, identification 0 (RFC 6864: atomic datagrams), hop limit 64.
/// IPv4 today; both addresses must be of one family.
FlowTemplate make_flow_template(const FlowAddresses& addresses) noexcept;

}  // namespace penstock
