#include "penstock_bench/stamped_content.h"

#include "data_path/checksum.h"
#include "data_path/packet_headers.h"
#include "rig/relay_rig.h"

#include <rte_mbuf.h>

#include <algorithm>
#include <cstring>

namespace penstock::bench {
namespace {

constexpr std::uint8_t kFiller = 0x47;

std::vector<std::uint8_t> frame_without_stamp(const CaptureContent& content, std::uint32_t stream) {
    std::vector<std::uint8_t> payload(content.payload_bytes, kFiller);
    std::fill_n(payload.begin(), sizeof(Stamp), std::uint8_t{0});
    const auto udp_port = static_cast<std::uint16_t>(RelayRig::kFirstUdpPort + stream);
    return frame_of(content, udp_port, payload);
}

}  // namespace

StampedContent::StampedContent(const CaptureContent& content, std::uint32_t stream)
    : frame_(frame_without_stamp(content, stream)),
      sum_(static_cast<std::uint16_t>(~load_word(frame_.data() + kUdpChecksumAt))) {}

void StampedContent::write(rte_mbuf& packet, const Stamp& stamp) const noexcept {
    auto* const frame = rte_pktmbuf_mtod(&packet, std::uint8_t*);
    std::memcpy(frame, frame_.data(), frame_.size());
    std::memcpy(frame + kIpv4FrameHeaderBytes, &stamp, sizeof(stamp));
    store_word(frame + kUdpChecksumAt, udp_checksum(sum_, sum_bytes(&stamp, sizeof(stamp))));
    packet.data_len = static_cast<std::uint16_t>(frame_.size());
    packet.pkt_len = packet.data_len;
}

Stamp StampedContent::read(const rte_mbuf& copy) noexcept {
    const std::uint8_t* const payload =
        copy.nb_segs > 1 ? rte_pktmbuf_mtod(copy.next, const std::uint8_t*)
                         : rte_pktmbuf_mtod(&copy, const std::uint8_t*) + kIpv4FrameHeaderBytes;
    Stamp stamp;
    std::memcpy(&stamp, payload, sizeof(stamp));
    return stamp;
}

}  // namespace penstock::bench
