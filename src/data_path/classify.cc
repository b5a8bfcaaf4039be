#include "data_path/classify.h"

#include "base/check.h"
#include "data_path/checksum.h"
#include "data_path/drop.h"
#include "data_path/packet_headers.h"
#include "data_path/replicate.h"
#include "wire/session_messages.h"

#include <rte_prefetch.h>
#include <rte_ring.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <netinet/in.h>

namespace penstock {
namespace {

constexpr std::size_t kVlanTagBytes = sizeof(rte_vlan_hdr);
constexpr std::uint16_t kVlanIdMask = 0x0fff;
/// More fragments, or an offset: any of these bits makes it a fragment (RFC 791 section 3.1).
constexpr std::uint16_t kFragmentBits = RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK;
constexpr std::uint16_t kFragmentBitsOnWire = RTE_STATIC_BSWAP16(kFragmentBits);

const rte_ipv4_hdr& ip_of(std::span<const std::uint8_t> packet) noexcept {
    return *reinterpret_cast<const rte_ipv4_hdr*>(packet.data());
}

std::size_t ip_header_bytes(const rte_ipv4_hdr& ip) noexcept {
    return std::size_t{RTE_IPV4_IHL_MULTIPLIER} * (ip.version_ihl & RTE_IPV4_HDR_IHL_MASK);
}

const rte_udp_hdr& udp_of(std::span<const std::uint8_t> packet) noexcept {
    return *reinterpret_cast<const rte_udp_hdr*>(packet.data() + kIpv4Bytes);
}

Endpoint source_of(const rte_ipv4_hdr& ip, const rte_udp_hdr& udp) noexcept {
    Endpoint source{.ip = {}, .port = to_host(udp.src_port)};
    source.ip.bytes[10] = 0xff;  // IPv4-mapped: RFC 4291 section 2.5.5.2
    source.ip.bytes[11] = 0xff;
    std::memcpy(&source.ip.bytes[12], &ip.src_addr, sizeof(ip.src_addr));
    return source;
}

/// What the UDP checksum of content says of its payload alone.
class UdpSums {
  public:
    UdpSums() = default;
    UdpSums(const rte_ipv4_hdr& ip, const rte_udp_hdr& udp) noexcept
        : pseudo_header_(fold_sum(std::uint64_t{ip.src_addr} + ip.dst_addr +
                                  to_network(std::uint16_t{IPPROTO_UDP}) + udp.dgram_len)),
          headers_(std::uint32_t{pseudo_header_} + udp.src_port + udp.dst_port + udp.dgram_len) {}

    /// Whether a checksum says anything. A sender that computed none leaves it to us, and so does
    /// one on this machine that left it to a NIC where there is none (veth, TAP): the field then
    /// holds the pseudo header's sum alone.
    /// Source: RFC 768; linux/skbuff.h, CHECKSUM_PARTIAL.
    [[nodiscard]] bool are_told_by(std::uint16_t checksum) const noexcept {
        return checksum != 0 && checksum != pseudo_header_;
    }
    /// What such a checksum says: the sum of all is 0xffff, so the payload's is what the headers
    /// leave.
    [[nodiscard]] std::uint16_t payload_sum(std::uint16_t checksum) const noexcept {
        return static_cast<std::uint16_t>(~fold_sum(headers_ + checksum));
    }

  private:
    std::uint16_t pseudo_header_ = 0;
    std::uint32_t headers_ = 0;  // ports and length, too
};

/// A guess at whether streams change from packet to packet.
bool is_mixed(ContentBurst content) noexcept {
    return content.size() > 1 && (content[0].stream != content[1].stream ||
                                  content.front().stream != content.back().stream);
}

/// Whether a payload begins like a session message; it may be shorter than that.
bool may_be_message(const std::uint8_t* payload) noexcept {
    return load<std::uint64_t>(payload) == Be64{kMessageMagic}.raw();
}

/// Trimmed once, then frozen: drivers read data_off and data_len of a shared packet.
void trim(rte_mbuf& frame, std::size_t payload_at, std::uint16_t payload_bytes) noexcept {
    frame.data_off = static_cast<std::uint16_t>(frame.data_off + payload_at);
    frame.data_len = payload_bytes;
    frame.pkt_len = payload_bytes;
}

/// Whether the publisher's payload is a session message and not content that looks like one.
bool is_publishers_message(MessageType type,
                           std::span<const std::byte> payload,
                           FlowId flow) noexcept {
    if (type == MessageType::join) {
        return true;
    }
    // Every message but JOIN names its flow directly behind the header.
    Be64 named;
    std::memcpy(&named, payload.data() + sizeof(MessageHeader), sizeof(named));
    return named == flow.value;
}

}  // namespace

Classify::Classify(const WorkerConfig& config, WorkerCounters& counters) noexcept
    : config_(config), counters_(counters) {
    for (std::size_t i = 0; i < config.port_count; ++i) {
        std::memcpy(&ports_[i].mac, config.ports[i].mac.bytes.data(), RTE_ETHER_ADDR_LEN);
        ports_[i].address = to_network(config.ports[i].address.v4());
    }
    session_messages_.ring = config.session_messages;
    session_messages_.full = DropReason::session_ring_full;
    session_messages_.given = &counters.session_messages;
    exceptions_.ring = config.exceptions;
    exceptions_.full = DropReason::exception_ring_full;
    exceptions_.given = &counters.exceptions;
    hand_over_.full = DropReason::hand_over_full;
    hand_over_.given = &counters.handed_over;
}

/// Fetches the streams of all frames that turn out to be plain content.
void Classify::prefetch_streams(Burst frames) const noexcept {
    constexpr std::size_t kUdpPortAt =
        kEthernetBytes + kIpv4Bytes + offsetof(rte_udp_hdr, dst_port);
    for (const rte_mbuf* frame : frames) {
        const auto* at = rte_pktmbuf_mtod_offset(frame, const std::uint8_t*, kUdpPortAt);
        const std::size_t index = index_of(to_host(load_word(at)));
        // Not of nullptr: that would cost a walk of the page tables every time.
        if (index < config_.streams.size() && config_.streams[index] != nullptr) {
            rte_prefetch0(config_.streams[index]);
        }
    }
}

/// What the headers of plain content say, but for the little that differs between packets of one
/// stream and size: the IP identification and both checksums.
struct Classify::PlainHeaders {
    Stream* stream = nullptr;
    std::uint64_t ip_sum = 0;  // of the other words of the IP header
    /// A frame has as many at least; none has as many as this.
    std::uint32_t frame_bytes = std::numeric_limits<std::uint32_t>::max();
    std::uint16_t payload_bytes = 0;
    UdpSums udp;

    /// Whether the IP header's checksum is right. Sums of 32-bit words fold to the same as those of
    /// 16-bit ones.
    [[nodiscard]] bool ip_checksum_holds(const rte_ipv4_hdr& ip) const noexcept {
        return is_zero_sum(ip_sum + ip.packet_id + ip.hdr_checksum);
    }
};

/// Content of a stream comes from one address to one address, packet after packet, most of it of
/// one size: what has been found out about the headers of one need not be found out again of the
/// next, if they are the same.
class Classify::LastContent {
  public:
    [[nodiscard]] const PlainHeaders& headers() const noexcept { return headers_; }
    /// Whether a frame's headers are the same: all of their bytes but for the source MAC address,
    /// the IP identification and the checksums. `bytes`: of the frame, which may have less than
    /// the headers.
    [[nodiscard]] bool has_headers_of(const std::uint8_t* frame,
                                      std::uint32_t bytes) const noexcept {
        return bytes >= headers_.frame_bytes && differs(parts_of(frame)) == 0;
    }
    void remember(const std::uint8_t* frame, const PlainHeaders& headers) noexcept {
        headers_ = headers;
        parts_ = parts_of(frame);
    }

  private:
    struct Parts {
        std::uint64_t mac;      // of the destination; two bytes more
        std::uint64_t ip;       // ethertype, first word of the IP header, length; two bytes more
        std::uint32_t kind;     // fragment bits, time to live, protocol
        std::uint64_t address;  // both addresses
        std::uint64_t udp;      // two bytes of an address, ports, length
    };
    static Parts parts_of(const std::uint8_t* frame) noexcept {
        return {.mac = load<std::uint64_t>(frame),
                .ip = load<std::uint64_t>(frame + kEthertypeAt),
                .kind = load<std::uint32_t>(frame + kFragmentAt),
                .address = load<std::uint64_t>(frame + kAddressesAt),
                .udp = load<std::uint64_t>(frame + kPortsAt - 2)};
    }
    [[nodiscard]] std::uint64_t differs(const Parts& other) const noexcept {
        constexpr unsigned kBitsMore = 16;  // of mac and ip, at their end
        return ((parts_.mac ^ other.mac) | (parts_.ip ^ other.ip)) << kBitsMore |
               (parts_.kind ^ other.kind) | (parts_.address ^ other.address) |
               (parts_.udp ^ other.udp);
    }
    static constexpr std::size_t kEthertypeAt = offsetof(rte_ether_hdr, ether_type);
    static constexpr std::size_t kFragmentAt =
        kEthernetBytes + offsetof(rte_ipv4_hdr, fragment_offset);
    static constexpr std::size_t kAddressesAt = kEthernetBytes + offsetof(rte_ipv4_hdr, src_addr);
    static constexpr std::size_t kPortsAt = kEthernetBytes + kIpv4Bytes;

    PlainHeaders headers_;
    Parts parts_{};
};

/// Whose content a frame is, going by its addresses, ports and protocols: nullptr if there is
/// anything unusual about them. `frame`: kIpv4FrameHeaderBytes at least.
[[gnu::always_inline]] inline Stream* Classify::plain_stream_of(
    const std::uint8_t* frame, const PortIdentity& port) const noexcept {
    constexpr std::uint64_t kMacBits = 0xffff'ffff'ffffU;
    // Ethertype IPv4, version 4, five words of header; not the type of service.
    constexpr std::uint32_t kPlain = 0x0045'0008;
    constexpr std::uint32_t kPlainBits = 0x00ff'ffff;
    const auto& ip = *reinterpret_cast<const rte_ipv4_hdr*>(frame + kEthernetBytes);
    const auto& udp = *reinterpret_cast<const rte_udp_hdr*>(frame + kEthernetBytes + kIpv4Bytes);
    // All that has to be one value, at once: zero if it is.
    const std::uint64_t differs =
        ((load<std::uint64_t>(frame) ^ port.mac) & kMacBits) |
        ((load<std::uint32_t>(frame + offsetof(rte_ether_hdr, ether_type)) ^ kPlain) & kPlainBits) |
        (ip.fragment_offset & kFragmentBitsOnWire) | (ip.next_proto_id ^ unsigned{IPPROTO_UDP}) |
        (ip.dst_addr ^ port.address);
    const std::size_t index = index_of(to_host(udp.dst_port));
    if (differs != 0 || index >= config_.streams.size()) {
        return nullptr;
    }
    Stream* stream = config_.streams[index];
    const bool ours = stream != nullptr && stream->owner == config_.index &&
                      publisher_key(ip.src_addr, udp.src_port) == stream->publisher_v4;
    return ours ? stream : nullptr;
}

/// `headers`: filled if it is plain content of one of our streams, going by all but its checksums.
[[gnu::always_inline]] inline bool Classify::read_plain_headers(
    const std::uint8_t* frame,
    std::uint32_t frame_bytes,
    const PortIdentity& port,
    PlainHeaders& headers) const noexcept {
    if (frame_bytes < kIpv4FrameHeaderBytes) {
        return false;
    }
    Stream* stream = plain_stream_of(frame, port);
    if (stream == nullptr) {
        return false;
    }
    const std::uint8_t* ip_at = frame + kEthernetBytes;
    const auto& ip = *reinterpret_cast<const rte_ipv4_hdr*>(ip_at);
    const auto& udp = *reinterpret_cast<const rte_udp_hdr*>(ip_at + kIpv4Bytes);
    const std::uint32_t udp_bytes = to_host(udp.dgram_len);
    const std::uint32_t needed_bytes = kEthernetBytes + kIpv4Bytes + udp_bytes;
    if (udp_bytes < kUdpBytes || udp_bytes + kIpv4Bytes != to_host(ip.total_length) ||
        needed_bytes > frame_bytes) {
        return false;
    }
    headers = {.stream = stream,
               .ip_sum = std::uint64_t{ip.src_addr} + ip.dst_addr + load<std::uint32_t>(ip_at) +
                         ip.fragment_offset +
                         load_word(ip_at + offsetof(rte_ipv4_hdr, time_to_live)),
               .frame_bytes = needed_bytes,
               .payload_bytes = static_cast<std::uint16_t>(udp_bytes - kUdpBytes),
               .udp = UdpSums{ip, udp}};
    return true;
}

[[gnu::always_inline]] inline bool Classify::take_plain_content(rte_mbuf& frame,
                                                                const PortIdentity& port,
                                                                LastContent* last,
                                                                Content& content) const noexcept {
    // What a NIC may have found that has to be looked into.
    constexpr std::uint64_t kDoubts =
        RTE_MBUF_F_RX_VLAN_STRIPPED | RTE_MBUF_F_RX_IP_CKSUM_BAD | RTE_MBUF_F_RX_L4_CKSUM_BAD;
    if (((frame.ol_flags & kDoubts) | (frame.nb_segs ^ 1U)) != 0) {
        return false;
    }
    const auto* at = rte_pktmbuf_mtod(&frame, const std::uint8_t*);
    PlainHeaders headers;
    if (last != nullptr && last->has_headers_of(at, frame.data_len)) [[likely]] {
        headers = last->headers();
    } else {
        if (!read_plain_headers(at, frame.data_len, port, headers)) {
            return false;
        }
        if (last != nullptr) {
            last->remember(at, headers);
        }
    }
    const auto& ip = *reinterpret_cast<const rte_ipv4_hdr*>(at + kEthernetBytes);
    const auto& udp = *reinterpret_cast<const rte_udp_hdr*>(at + kEthernetBytes + kIpv4Bytes);
    if (!headers.ip_checksum_holds(ip) || !headers.udp.are_told_by(udp.dgram_cksum) ||
        may_be_message(at + kIpv4FrameHeaderBytes)) {
        return false;
    }
    content = {.stream = headers.stream,
               .packet = &frame,
               .payload_bytes = headers.payload_bytes,
               .payload_sum = headers.udp.payload_sum(udp.dgram_cksum)};
    trim(frame, kIpv4FrameHeaderBytes, content.payload_bytes);
    return true;
}

[[gnu::always_inline]] inline std::size_t Classify::take(Burst frames,
                                                         std::uint8_t port,
                                                         LastContent* last) noexcept {
    const PortIdentity& identity = ports_[port];
    Content* next = content_.data();
    for (rte_mbuf* frame : frames) {
        if (take_plain_content(*frame, identity, last, *next)) [[likely]] {
            ++next;
        } else {
            next += examine(frame, port, *next) ? 1 : 0;
        }
    }
    return static_cast<std::size_t>(next - content_.data());
}

ContentBurst Classify::by_stream(Burst frames, std::uint8_t port) noexcept {
    if (frames.empty()) {
        return {};
    }
    bool& mixed = ports_[port].is_mixed;
    std::size_t accepted = 0;
    if (mixed) {
        prefetch_streams(frames);
        accepted = take(frames, port, nullptr);
    } else {
        LastContent last;
        accepted = take(frames, port, &last);
    }
    mixed = is_mixed({content_.data(), accepted});
    flush(session_messages_);
    flush(exceptions_);
    flush(hand_over_);
    counters_.content.add(accepted);
    return {content_.data(), accepted};
}

bool Classify::examine(rte_mbuf* frame, std::uint8_t port, Content& content) noexcept {
    const Verdict verdict = examine_frame(*frame, ports_[port]);
    if (verdict.kind != Kind::content) {
        frame->port = port;
        give_or_drop(frame, verdict);
        return false;
    }
    trim(*frame, verdict.payload_at, verdict.payload_bytes);
    content = {.stream = verdict.stream,
               .packet = frame,
               .payload_bytes = verdict.payload_bytes,
               .payload_sum = verdict.payload_sum};
    return true;
}

void Classify::give_or_drop(rte_mbuf* frame, const Verdict& verdict) noexcept {
    switch (verdict.kind) {
        case Kind::content:
            break;  // the caller's
        case Kind::session_message:
            give(session_messages_, frame);
            break;
        case Kind::exception:
            give(exceptions_, frame);
            break;
        case Kind::hand_over:
            give_to_owner(*verdict.stream, frame);
            break;
        case Kind::drop:
            if (verdict.stream != nullptr) {
                verdict.stream->totals.dropped += 1;
            }
            drop({&frame, 1}, verdict.reason, counters_);
            break;
    }
}

void Classify::open(Stream& stream) noexcept {
    PENSTOCK_CHECK(is_stream_port(stream.udp_port));
    Stream*& entry = config_.streams[index_of(stream.udp_port)];
    PENSTOCK_CHECK(entry == nullptr);
    entry = &stream;
}

void Classify::close(const Stream& stream) noexcept {
    Stream*& entry = config_.streams[index_of(stream.udp_port)];
    PENSTOCK_CHECK(entry == &stream);
    entry = nullptr;
}

Classify::Verdict Classify::examine_frame(const rte_mbuf& frame,
                                          const PortIdentity& port) const noexcept {
    if (frame.nb_segs != 1) {
        return {.kind = Kind::drop, .reason = DropReason::frame_segmented};
    }
    const std::span bytes{rte_pktmbuf_mtod(&frame, const std::uint8_t*), frame.data_len};
    if (bytes.size() < kEthernetBytes) {
        return {.kind = Kind::drop, .reason = DropReason::frame_too_short};
    }
    // Without its tag Linux would take it for a frame of our own network.
    if ((frame.ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0 &&
        (frame.vlan_tci & kVlanIdMask) != 0) {
        return {.kind = Kind::drop, .reason = DropReason::vlan_stripped};
    }
    const auto& ethernet = *reinterpret_cast<const rte_ether_hdr*>(bytes.data());
    const bool to_group = rte_is_multicast_ether_addr(&ethernet.dst_addr) != 0;
    if (!to_group &&
        std::memcmp(ethernet.dst_addr.addr_bytes, &port.mac, RTE_ETHER_ADDR_LEN) != 0) {
        return {.kind = Kind::drop, .reason = DropReason::not_our_mac};
    }
    std::uint16_t type = to_host(ethernet.ether_type);
    std::size_t packet_at = kEthernetBytes;
    if (type == RTE_ETHER_TYPE_VLAN || type == RTE_ETHER_TYPE_QINQ) {
        if (bytes.size() < kEthernetBytes + kVlanTagBytes) {
            return {.kind = Kind::drop, .reason = DropReason::frame_too_short};
        }
        const auto& tag = *reinterpret_cast<const rte_vlan_hdr*>(&bytes[kEthernetBytes]);
        if (type == RTE_ETHER_TYPE_VLAN && (to_host(tag.vlan_tci) & kVlanIdMask) == 0) {
            // VLAN 0 is a priority and no VLAN (IEEE 802.1Q section 6.9): the frame is untagged.
            type = to_host(tag.eth_proto);
            packet_at += kVlanTagBytes;
        }
    }
    if (type != RTE_ETHER_TYPE_IPV4) {
        return {.kind = Kind::exception};
    }
    Verdict verdict = examine_ipv4(frame, bytes.subspan(packet_at), port);
    if (to_group && verdict.kind != Kind::exception && verdict.kind != Kind::drop) {
        return {.kind = Kind::drop, .reason = DropReason::link_broadcast};
    }
    verdict.payload_at = static_cast<std::uint16_t>(verdict.payload_at + packet_at);
    return verdict;
}

Classify::Verdict Classify::examine_ipv4(const rte_mbuf& frame,
                                         std::span<const std::uint8_t> packet,
                                         const PortIdentity& port) const noexcept {
    if (packet.size() < kIpv4Bytes) {
        return {.kind = Kind::drop, .reason = DropReason::frame_too_short};
    }
    const rte_ipv4_hdr& ip = ip_of(packet);
    const std::size_t header_bytes = ip_header_bytes(ip);
    const std::size_t total_bytes = to_host(ip.total_length);
    if ((ip.version_ihl >> 4U) != 4 || header_bytes < kIpv4Bytes || total_bytes < header_bytes ||
        total_bytes > packet.size()) {
        return {.kind = Kind::drop, .reason = DropReason::ip_header_invalid};
    }
    if ((frame.ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_BAD ||
        sum_bytes(&ip, header_bytes) != 0xffff) {
        return {.kind = Kind::drop, .reason = DropReason::ip_checksum_wrong};
    }
    if (ip.dst_addr != port.address) {
        return {.kind = Kind::exception};
    }
    if (!source_is_valid(ip.src_addr)) {
        return {.kind = Kind::drop, .reason = DropReason::source_invalid};
    }
    if (ip.next_proto_id != IPPROTO_UDP) {
        return {.kind = Kind::exception};
    }
    if ((to_host(ip.fragment_offset) & kFragmentBits) != 0) {
        return {.kind = Kind::drop, .reason = DropReason::ip_fragment};
    }
    if (total_bytes < header_bytes + kUdpBytes) {
        return {.kind = Kind::drop, .reason = DropReason::udp_length_invalid};
    }
    if (header_bytes != kIpv4Bytes) {
        const std::uint16_t udp_port =
            to_network(load_word(&packet[header_bytes + offsetof(rte_udp_hdr, dst_port)]));
        return {.kind = is_stream_port(udp_port) ? Kind::drop : Kind::exception,
                .reason = DropReason::ip_options};
    }
    return examine_udp(frame, packet.first(total_bytes));
}

Classify::Verdict Classify::examine_udp(const rte_mbuf& frame,
                                        std::span<const std::uint8_t> packet) const noexcept {
    const rte_udp_hdr& udp = udp_of(packet);
    const std::uint16_t port = to_host(udp.dst_port);
    if (!is_stream_port(port)) {
        return {.kind = Kind::exception};
    }
    const std::size_t udp_bytes = to_host(udp.dgram_len);
    if (udp_bytes < kUdpBytes || udp_bytes > packet.size() - kIpv4Bytes) {
        return {.kind = Kind::drop, .reason = DropReason::udp_length_invalid};
    }
    if (udp.src_port == 0) {  // no reply could reach it
        return {.kind = Kind::drop, .reason = DropReason::source_invalid};
    }
    // Some NICs call a checksum of 0 wrong, which over IPv4 means "not computed".
    if (udp.dgram_cksum != 0 &&
        (frame.ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_BAD) {
        return {.kind = Kind::drop, .reason = DropReason::udp_checksum_wrong};
    }
    Stream* stream = config_.streams[index_of(port)];
    if (stream == nullptr) {
        return {.kind = Kind::drop, .reason = DropReason::unknown_stream};
    }
    if (stream->owner != config_.index) {
        return {.kind = Kind::hand_over, .stream = stream};
    }
    // The payload ends where UDP says: what follows is padding of a short frame, or junk.
    const std::size_t headers = kIpv4Bytes + kUdpBytes;
    return examine_payload(packet, packet.subspan(headers, udp_bytes - kUdpBytes), *stream);
}

Classify::Verdict Classify::examine_payload(std::span<const std::uint8_t> packet,
                                            std::span<const std::uint8_t> payload,
                                            Stream& stream) noexcept {
    const rte_ipv4_hdr& ip = ip_of(packet);
    const rte_udp_hdr& udp = udp_of(packet);
    const auto type = message_type(std::as_bytes(payload));
    const bool from_publisher = source_of(ip, udp) == stream.publisher;
    if (type && (!from_publisher ||
                 is_publishers_message(*type, std::as_bytes(payload), stream.publisher_flow))) {
        return {.kind = Kind::session_message};
    }
    if (!from_publisher) {
        return {.kind = Kind::drop, .reason = DropReason::not_publisher, .stream = &stream};
    }
    const UdpSums sums{ip, udp};
    return {.kind = Kind::content,
            .stream = &stream,
            .payload_at = kIpv4Bytes + kUdpBytes,
            .payload_bytes = static_cast<std::uint16_t>(payload.size()),
            .payload_sum = sums.are_told_by(udp.dgram_cksum)
                               ? sums.payload_sum(udp.dgram_cksum)
                               : sum_bytes(payload.data(), payload.size())};
}

/// Not 0/8, loopback, multicast, reserved or broadcast (RFC 1122 section 3.2.1.3), not our own.
bool Classify::source_is_valid(std::uint32_t source) const noexcept {
    constexpr std::uint8_t kLoopbackNetwork = 127;
    constexpr std::uint8_t kFirstMulticast = 224;
    const auto network = static_cast<std::uint8_t>(to_host(source) >> 24U);
    if (network == 0 || network == kLoopbackNetwork || network >= kFirstMulticast) {
        return false;
    }
    return std::none_of(ports_.begin(), ports_.begin() + config_.port_count, [&](const auto& port) {
        return port.address == source;
    });
}

void Classify::give(Outgoing& outgoing, rte_mbuf* frame) noexcept {
    outgoing.frames[outgoing.count++] = frame;
}

void Classify::give_to_owner(const Stream& stream, rte_mbuf* frame) noexcept {
    rte_ring* ring = config_.hand_over_to[stream.owner];
    PENSTOCK_CHECK(ring != nullptr);
    if (hand_over_.ring != ring) {
        flush(hand_over_);
        hand_over_.ring = ring;
    }
    give(hand_over_, frame);
}

void Classify::flush(Outgoing& outgoing) noexcept {
    if (outgoing.count == 0) {
        return;
    }
    const unsigned given =
        rte_ring_sp_enqueue_burst(outgoing.ring,
                                  reinterpret_cast<void**>(outgoing.frames.data()),
                                  static_cast<unsigned>(outgoing.count),
                                  nullptr);
    outgoing.given->add(given);
    if (given < outgoing.count) {
        drop(Burst{outgoing.frames}.subspan(given, outgoing.count - given),
             outgoing.full,
             counters_);
    }
    outgoing.count = 0;
}

}  // namespace penstock
