#include "data_path/flow.h"

#include "base/check.h"
#include "data_path/checksum.h"
#include "data_path/packet_headers.h"

#include <cstring>
#include <netinet/in.h>

namespace penstock {
namespace {

constexpr std::uint8_t kHopLimit = 64;
constexpr std::uint8_t kVersion4Words5 = 0x45;

struct Frame {
    rte_ether_hdr ethernet{};
    rte_ipv4_hdr ip{};
    rte_udp_hdr udp{};
};
static_assert(sizeof(Frame) == kIpv4FrameHeaderBytes);

Frame common_frame(const MacAddress& source_mac, const Endpoint& source) noexcept {
    PENSTOCK_CHECK(source.ip.is_v4());
    Frame frame;
    std::memcpy(&frame.ethernet.src_addr, source_mac.bytes.data(), RTE_ETHER_ADDR_LEN);
    frame.ethernet.ether_type = to_network(std::uint16_t{RTE_ETHER_TYPE_IPV4});
    frame.ip.version_ihl = kVersion4Words5;
    frame.ip.fragment_offset = to_network(std::uint16_t{RTE_IPV4_HDR_DF_FLAG});
    frame.ip.time_to_live = kHopLimit;
    frame.ip.next_proto_id = IPPROTO_UDP;
    frame.ip.src_addr = to_network(source.ip.v4());
    frame.udp.src_port = to_network(source.port);
    return frame;
}

}  // namespace

CommonHeaders make_common_headers(const MacAddress& source_mac, const IpAddress& source) noexcept {
    const Frame frame = common_frame(source_mac, {.ip = source, .port = 0});
    CommonHeaders common{};
    std::memcpy(common.headers.data(), &frame, sizeof(frame));
    common.header_bytes = sizeof(frame);
    return common;
}

FlowHeaders make_flow_headers(const FlowAddresses& addresses) noexcept {
    PENSTOCK_CHECK(addresses.destination.ip.is_v4());
    Frame frame = common_frame(addresses.source_mac, addresses.source);
    frame.ip.dst_addr = to_network(addresses.destination.ip.v4());
    frame.udp.dst_port = to_network(addresses.destination.port);
    // Lengths and checksums are still 0, so these are the sums of everything else (RFC 768: the
    // pseudo header is both addresses, the protocol and the UDP length, which is added later).
    return {.next_hop_mac = addresses.next_hop_mac.bytes,
            .udp_port = frame.udp.dst_port,
            .address = frame.ip.dst_addr,
            .ip_sum = sum_bytes(&frame.ip, sizeof(frame.ip)),
            .udp_sum = fold_sum(
                std::uint32_t{sum_bytes(&frame.ip.src_addr, 2 * sizeof(frame.ip.src_addr))} +
                to_network(std::uint16_t{IPPROTO_UDP}) + sum_bytes(&frame.udp, sizeof(frame.udp)))};
}

}  // namespace penstock
