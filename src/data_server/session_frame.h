#pragma once

#include "base/net_address.h"
#include "data_path/flow.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

struct rte_mbuf;

namespace penstock {

/// A session message as it came from a NIC port. `payload` lies in the packet it was read from.
struct SessionFrame {
    std::uint8_t port = 0;  // index of the port
    MacAddress source_mac;
    Endpoint source;       // the client
    Endpoint destination;  // data address, and the UDP port of the stream
    std::span<const std::byte> payload;
};

/// Reads a frame that classify gave to the session ring (so its headers are known to be right; what
/// would lead outside the packet is refused all the same). nullopt: not IPv4 and UDP in one
/// segment.
std::optional<SessionFrame> read_session_frame(const rte_mbuf& packet) noexcept;

/// Makes an empty packet a UDP datagram with both checksums.
/// Returns: false if it has no room for it; the packet is then unchanged.
/// Source:  rte_ip.h rte_ipv4_cksum(), rte_ipv4_udptcp_cksum().
bool write_session_frame(rte_mbuf& packet,
                         const FlowAddresses& addresses,
                         std::span<const std::byte> payload) noexcept;

}  // namespace penstock
