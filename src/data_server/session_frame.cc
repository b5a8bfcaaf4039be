#include "data_server/session_frame.h"

#include "base/byte_order.h"

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_udp.h>

#include <algorithm>
#include <cstring>

namespace penstock {
namespace {

constexpr std::uint8_t kHopLimit = 64;

struct NetworkHeaders {
    rte_ipv4_hdr ip;
    rte_udp_hdr udp;
};
static_assert(sizeof(NetworkHeaders) == sizeof(rte_ipv4_hdr) + sizeof(rte_udp_hdr));
constexpr std::size_t kHeaderBytes = sizeof(rte_ether_hdr) + sizeof(NetworkHeaders);

/// Where the IP packet begins: behind a priority tag, if there is one (IEEE 802.1Q section 6.9).
std::size_t ip_offset(const rte_ether_hdr& ethernet) noexcept {
    return ethernet.ether_type == RTE_BE16(RTE_ETHER_TYPE_VLAN)
               ? sizeof(rte_ether_hdr) + sizeof(rte_vlan_hdr)
               : sizeof(rte_ether_hdr);
}

}  // namespace

std::optional<SessionFrame> read_session_frame(const rte_mbuf& packet) noexcept {
    if (packet.nb_segs != 1 || packet.data_len < kHeaderBytes) {
        return std::nullopt;
    }
    const auto* start = rte_pktmbuf_mtod(&packet, const std::byte*);
    rte_ether_hdr ethernet;
    std::memcpy(&ethernet, start, sizeof(ethernet));
    const std::size_t ip_at = ip_offset(ethernet);
    const std::size_t payload_at = ip_at + sizeof(NetworkHeaders);
    if (packet.data_len < payload_at) {
        return std::nullopt;
    }
    Be16 type;  // the last field before the IP packet, tag or not
    std::memcpy(&type, start + ip_at - sizeof(type), sizeof(type));
    NetworkHeaders headers;
    std::memcpy(&headers, start + ip_at, sizeof(headers));
    const std::size_t udp_bytes = rte_be_to_cpu_16(headers.udp.dgram_len);
    if (type != RTE_ETHER_TYPE_IPV4 || headers.ip.version_ihl != RTE_IPV4_VHL_DEF ||
        headers.ip.next_proto_id != IPPROTO_UDP || udp_bytes < sizeof(rte_udp_hdr) ||
        ip_at + sizeof(rte_ipv4_hdr) + udp_bytes > packet.data_len) {
        return std::nullopt;
    }
    SessionFrame frame;
    frame.port = static_cast<std::uint8_t>(packet.port);
    std::copy_n(ethernet.src_addr.addr_bytes, 6, frame.source_mac.bytes.begin());
    frame.source = {IpAddress::v4(rte_be_to_cpu_32(headers.ip.src_addr)),
                    rte_be_to_cpu_16(headers.udp.src_port)};
    frame.destination = {IpAddress::v4(rte_be_to_cpu_32(headers.ip.dst_addr)),
                         rte_be_to_cpu_16(headers.udp.dst_port)};
    frame.payload = {start + payload_at, udp_bytes - sizeof(rte_udp_hdr)};
    return frame;
}

bool write_session_frame(rte_mbuf& packet,
                         const FlowAddresses& addresses,
                         std::span<const std::byte> payload) noexcept {
    if (rte_pktmbuf_tailroom(&packet) < kHeaderBytes + payload.size()) {
        return false;
    }
    const auto udp_bytes = static_cast<std::uint16_t>(sizeof(rte_udp_hdr) + payload.size());
    const auto ip_bytes = static_cast<std::uint16_t>(sizeof(rte_ipv4_hdr) + udp_bytes);
    auto* start =
        rte_pktmbuf_append(&packet, static_cast<std::uint16_t>(kHeaderBytes + payload.size()));
    rte_ether_hdr ethernet{};
    std::ranges::copy(addresses.next_hop_mac.bytes, ethernet.dst_addr.addr_bytes);
    std::ranges::copy(addresses.source_mac.bytes, ethernet.src_addr.addr_bytes);
    ethernet.ether_type = RTE_BE16(RTE_ETHER_TYPE_IPV4);
    NetworkHeaders headers{};
    headers.ip.version_ihl = RTE_IPV4_VHL_DEF;
    headers.ip.total_length = rte_cpu_to_be_16(ip_bytes);
    headers.ip.fragment_offset = RTE_BE16(RTE_IPV4_HDR_DF_FLAG);
    headers.ip.time_to_live = kHopLimit;
    headers.ip.next_proto_id = IPPROTO_UDP;
    headers.ip.src_addr = rte_cpu_to_be_32(addresses.source.ip.v4());
    headers.ip.dst_addr = rte_cpu_to_be_32(addresses.destination.ip.v4());
    headers.udp.src_port = rte_cpu_to_be_16(addresses.source.port);
    headers.udp.dst_port = rte_cpu_to_be_16(addresses.destination.port);
    headers.udp.dgram_len = rte_cpu_to_be_16(udp_bytes);
    std::memcpy(start, &ethernet, sizeof(ethernet));
    std::memcpy(start + sizeof(ethernet), &headers, sizeof(headers));
    std::memcpy(start + kHeaderBytes, payload.data(), payload.size());
    auto* ip = rte_pktmbuf_mtod_offset(&packet, rte_ipv4_hdr*, sizeof(rte_ether_hdr));
    auto* udp = rte_pktmbuf_mtod_offset(
        &packet, rte_udp_hdr*, sizeof(rte_ether_hdr) + sizeof(rte_ipv4_hdr));
    ip->hdr_checksum = rte_ipv4_cksum(ip);
    udp->dgram_cksum = rte_ipv4_udptcp_cksum(ip, udp);
    return true;
}

}  // namespace penstock
