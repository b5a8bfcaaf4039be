#include "rig/capture_file.h"

#include "base/byte_order.h"
#include "data_path/checksum.h"
#include "data_path/packet_headers.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <netinet/in.h>
#include <system_error>

namespace penstock::bench {
namespace {

// https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap: the file's header and each packet's, in
// the writer's byte order.
struct FileHeader {
    std::uint32_t magic = 0xa1b2c3d4;
    std::uint16_t major = 2;
    std::uint16_t minor = 4;
    std::uint32_t zone = 0;
    std::uint32_t accuracy = 0;
    std::uint32_t bytes_max = 65535;
    std::uint32_t link_type = 1;  // Ethernet
};
struct PacketHeader {
    std::uint32_t seconds;
    std::uint32_t microseconds;
    std::uint32_t captured_bytes;
    std::uint32_t bytes;
};

struct Headers {
    rte_ether_hdr ethernet{};
    rte_ipv4_hdr ip{};
    rte_udp_hdr udp{};
};
static_assert(sizeof(Headers) == kIpv4FrameHeaderBytes);

std::vector<std::uint8_t> payload_of(std::uint32_t number, std::uint32_t bytes) {
    constexpr std::uint8_t kFiller = 0x47;
    std::vector<std::uint8_t> payload(bytes, kFiller);
    const Be64 first{number};
    std::memcpy(payload.data(), &first, sizeof(first));
    return payload;
}

Headers headers_of(const CaptureContent& content,
                   std::uint16_t udp_port,
                   const std::vector<std::uint8_t>& payload) {
    constexpr std::array<std::uint8_t, 6> kPublisherMac{2, 0, 0, 0, 0, 1};
    Headers frame;
    std::memcpy(&frame.ethernet.dst_addr, content.to_mac.bytes.data(), RTE_ETHER_ADDR_LEN);
    std::memcpy(&frame.ethernet.src_addr, kPublisherMac.data(), RTE_ETHER_ADDR_LEN);
    frame.ethernet.ether_type = to_network(std::uint16_t{RTE_ETHER_TYPE_IPV4});
    const auto udp_bytes = static_cast<std::uint16_t>(kUdpBytes + payload.size());
    frame.ip.version_ihl = RTE_IPV4_VHL_DEF;
    frame.ip.total_length = to_network(static_cast<std::uint16_t>(kIpv4Bytes + udp_bytes));
    frame.ip.fragment_offset = to_network(std::uint16_t{RTE_IPV4_HDR_DF_FLAG});
    frame.ip.time_to_live = 64;
    frame.ip.next_proto_id = IPPROTO_UDP;
    frame.ip.src_addr = to_network(content.from.ip.v4());
    frame.ip.dst_addr = to_network(content.to.v4());
    frame.ip.hdr_checksum = rte_ipv4_cksum(&frame.ip);
    frame.udp.src_port = to_network(content.from.port);
    frame.udp.dst_port = to_network(udp_port);
    frame.udp.dgram_len = to_network(udp_bytes);
    const std::uint32_t pseudo = sum_bytes(&frame.ip.src_addr, 2 * sizeof(frame.ip.src_addr)) +
                                 to_network(std::uint16_t{IPPROTO_UDP}) + frame.udp.dgram_len;
    const std::uint32_t rest = std::uint32_t{sum_bytes(&frame.udp, sizeof(frame.udp))} +
                               sum_bytes(payload.data(), payload.size());
    frame.udp.dgram_cksum = udp_checksum(fold_sum(pseudo), fold_sum(rest));
    return frame;
}

}  // namespace

std::vector<std::uint8_t> frame_of(const CaptureContent& content,
                                   std::uint16_t udp_port,
                                   const std::vector<std::uint8_t>& payload) {
    const Headers headers = headers_of(content, udp_port, payload);
    std::vector<std::uint8_t> frame(sizeof(headers) + payload.size());
    std::memcpy(frame.data(), &headers, sizeof(headers));
    std::memcpy(frame.data() + sizeof(headers), payload.data(), payload.size());
    return frame;
}

Result<void> write_capture(const std::filesystem::path& path, const CaptureContent& content) {
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    const auto put = [&file](const void* data, std::size_t bytes) {
        file.write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes));
    };
    const FileHeader header;
    put(&header, sizeof(header));
    for (std::uint32_t i = 0; i < content.packets; ++i) {
        const auto payload = payload_of(i, content.payload_bytes);
        const auto frame =
            frame_of(content, content.udp_ports[i % content.udp_ports.size()], payload);
        const auto bytes = static_cast<std::uint32_t>(frame.size());
        const PacketHeader packet{
            .seconds = 0, .microseconds = i, .captured_bytes = bytes, .bytes = bytes};
        put(&packet, sizeof(packet));
        put(frame.data(), frame.size());
    }
    file.flush();
    if (!file) {
        return Error{ErrorCode::system,
                     fmt::format("capture {} cannot be written: {}",
                                 path.string(),
                                 std::generic_category().message(errno))};
    }
    return {};
}

}  // namespace penstock::bench
