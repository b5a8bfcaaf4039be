#include "data_path/packet_copy.h"

#include "base/cache_line.h"
#include "data_path/checksum.h"
#include "data_path/packet_headers.h"

#include <rte_mbuf.h>
#include <rte_prefetch.h>

#include <array>
#include <cstddef>
#include <cstring>

// The one place where wider vectors pay: a copy is one store of a cache line, half a line of mbuf
// fields, and little else. The loader picks the version for the CPU (AVX-512, AVX2, or the SSE of
// every x86-64). Elsewhere the compiler's default does.
#if defined(__x86_64__)
#define PENSTOCK_BY_VECTOR_WIDTH [[gnu::target_clones("avx512f", "avx2", "default")]]
#else
#define PENSTOCK_BY_VECTOR_WIDTH
#endif

namespace penstock {
namespace {

// The mbuf fields of a copy lie side by side: 32 bytes, written at once.
constexpr std::size_t kFieldsAt = offsetof(rte_mbuf, data_off);
static_assert(offsetof(rte_mbuf, refcnt) == kFieldsAt + 2);
static_assert(offsetof(rte_mbuf, nb_segs) == kFieldsAt + 4);
static_assert(offsetof(rte_mbuf, port) == kFieldsAt + 6);
static_assert(offsetof(rte_mbuf, ol_flags) == kFieldsAt + 8);
static_assert(offsetof(rte_mbuf, packet_type) == kFieldsAt + 16);
static_assert(offsetof(rte_mbuf, pkt_len) == kFieldsAt + 20);
static_assert(offsetof(rte_mbuf, data_len) == kFieldsAt + 24);
static_assert(offsetof(rte_mbuf, vlan_tci) == kFieldsAt + 26);
static_assert(offsetof(rte_mbuf, hash) == kFieldsAt + 28);

constexpr std::uint64_t kReferences = 1;
constexpr std::uint64_t kNoPort = RTE_MBUF_PORT_INVALID;

/// The words that differ: the first (data_off, refcnt, nb_segs, port), pkt_len's (behind
/// packet_type, none) and data_len's (before vlan_tci and hash, none).
struct Fields {
    std::uint64_t first;
    std::uint64_t flags;  // ol_flags
    std::uint64_t packet_bytes;
    std::uint64_t segment_bytes;
};

[[gnu::always_inline]] inline Fields fields_of(std::uint64_t data_off,
                                               std::uint64_t segments,
                                               std::uint64_t packet_bytes,
                                               std::uint64_t segment_bytes) noexcept {
    return {.first = data_off | kReferences << 16U | segments << 32U | kNoPort << 48U,
            .flags = 0,
            .packet_bytes = packet_bytes << 32U,
            .segment_bytes = segment_bytes};
}

/// A frame's first 48 bytes as it is written: words 0, 3 and 4 are the flow's in part, and so is
/// word 5, which begins with the UDP checksum; 1 and 2 are the same in all copies of a packet.
using Words = std::array<std::uint64_t, 6>;
static_assert(kIpv4LengthAt == 16 && kIpv4ChecksumAt == 24 && kUdpLengthAt == 38 &&
              kUdpChecksumAt == 40);

/// What every copy of one packet has in common.
struct PacketParts {
    Words words;
    std::uint16_t ip_length;  // as it lies in the header
    std::uint16_t udp_rest;   // sum of what FlowHeaders::udp_sum does not include
};

[[gnu::always_inline]] inline PacketParts parts_of(CopySource source,
                                                   std::uint16_t payload_bytes,
                                                   std::uint16_t payload_sum) noexcept {
    const auto udp_bytes = static_cast<std::uint16_t>(kUdpBytes + payload_bytes);
    const std::uint16_t udp_length = to_network(udp_bytes);
    const std::uint16_t ip_length = to_network(static_cast<std::uint16_t>(kIpv4Bytes + udp_bytes));
    // What follows the headers in the last word is written over, or not sent.
    static_assert(sizeof(CommonHeaders) == sizeof(Words));
    const auto word = [&source](std::size_t at) {
        return load<std::uint64_t>(reinterpret_cast<const std::uint8_t*>(&source.common) +
                                   at * sizeof(std::uint64_t));
    };
    return {.words = {word(0),
                      word(1),
                      word(2) | ip_length,
                      word(3),
                      word(4) | std::uint64_t{source.udp_port} << 16U |
                          std::uint64_t{udp_length} << 48U,
                      word(5)},
            .ip_length = ip_length,
            // The UDP length counts twice: in the header and in the pseudo header (RFC 768).
            .udp_rest = fold_sum(std::uint32_t{payload_sum} + udp_length + udp_length)};
}

/// Where a mbuf of a copy pool keeps its data: such pools have no private area between the two.
constexpr std::size_t kFrameAt = sizeof(rte_mbuf) + RTE_PKTMBUF_HEADROOM;

/// `copy` may be any pointer: the places behind a burst hold old ones.
[[gnu::always_inline]] inline void prefetch(const rte_mbuf* copy, std::size_t at) noexcept {
    rte_prefetch0(reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(copy) + at));
}

/// The words that differ from flow to flow.
struct FlowWords {
    std::uint64_t first;
    std::uint64_t third;
    std::uint64_t fourth;
};

[[gnu::always_inline]] inline FlowWords flow_words(const FlowHeaders& headers,
                                                   const PacketParts& parts) noexcept {
    constexpr std::uint64_t kMacBits = 0xffff'ffff'ffffU;
    std::uint64_t mac_and_port = 0;
    std::memcpy(&mac_and_port, &headers, sizeof(mac_and_port));
    const std::uint64_t udp_port = mac_and_port >> 48U;
    const std::uint64_t address = headers.address;
    return {.first = parts.words[0] | (mac_and_port & kMacBits),
            .third = parts.words[3] | ip_checksum(headers.ip_sum, parts.ip_length) | address << 48U,
            .fourth = parts.words[4] | address >> 16U | udp_port << 32U};
}

/// What differs from copy to copy, checksums included.
[[gnu::always_inline]] inline void write_flow_words(std::uint8_t* frame,
                                                    const FlowHeaders& headers,
                                                    const PacketParts& parts) noexcept {
    const FlowWords flow = flow_words(headers, parts);
    std::memcpy(frame, &flow.first, sizeof(flow.first));
    std::memcpy(frame + 3 * sizeof(flow.third), &flow.third, sizeof(flow.third));
    std::memcpy(frame + 4 * sizeof(flow.fourth), &flow.fourth, sizeof(flow.fourth));
    store_word(frame + kUdpChecksumAt, udp_checksum(headers.udp_sum, parts.udp_rest));
}

/// Made in a register, like the lengths: a CPU cannot load at once what was stored in parts.
[[gnu::always_inline]] inline void write_fields(rte_mbuf& copy, const Fields& fields) noexcept {
    using Words [[gnu::vector_size(32)]] = std::uint64_t;
    const Words words{fields.first, fields.flags, fields.packet_bytes, fields.segment_bytes};
    std::memcpy(reinterpret_cast<std::uint8_t*>(&copy) + kFieldsAt, &words, sizeof(words));
}

constexpr std::size_t kAhead = 4;
static_assert(kAhead <= kReadAheadPackets);

using Line [[gnu::vector_size(kCacheLineBytes)]] = std::uint64_t;

PENSTOCK_BY_VECTOR_WIDTH
void make_chained(rte_mbuf* const* copies,
                  std::size_t count,
                  CopySource source,
                  const FlowHeaders* headers,
                  const Slot& slot) noexcept {
    const PacketParts parts = parts_of(source, slot.payload_bytes, slot.payload_sum);
    const std::uint32_t header_bytes = source.common.header_bytes;
    const Fields fields =
        fields_of(RTE_PKTMBUF_HEADROOM, 2, header_bytes + slot.payload_bytes, header_bytes);
    const Words& words = parts.words;
    const Line line{words[0], words[1], words[2], words[3], words[4], words[5], 0, 0};
    rte_mbuf* const payload = slot.packet;
    for (std::size_t i = 0; i < count; ++i) {
        prefetch(copies[i + kAhead], 0);
        prefetch(copies[i + kAhead], offsetof(rte_mbuf, next));
        prefetch(copies[i + kAhead], kFrameAt);
        rte_mbuf* const copy = copies[i];
        write_fields(*copy, fields);
        copy->next = payload;
        auto* const frame = reinterpret_cast<std::uint8_t*>(copy) + kFrameAt;
        std::memcpy(frame, &line, sizeof(line));
        write_flow_words(frame, headers[i], parts);
    }
}

/// Received and sent headers have the same length (but for a VLAN 0 tag), so the payload lies as
/// far into its cache line in a copy as in the packet: whole lines are copied, the first one with
/// the headers blended in.
PENSTOCK_BY_VECTOR_WIDTH
void make_self_contained(rte_mbuf* const* copies,
                         std::size_t count,
                         CopySource source,
                         const FlowHeaders* headers,
                         const Slot& slot) noexcept {
    static_assert(kIpv4FrameHeaderBytes == 42);
    constexpr std::uint64_t kAll = ~std::uint64_t{0};
    const Line of_headers{kAll, kAll, kAll, kAll, kAll, 0xffff, 0, 0};
    const PacketParts parts = parts_of(source, slot.payload_bytes, slot.payload_sum);
    const std::uint32_t packet_bytes =
        source.common.header_bytes + std::uint32_t{slot.payload_bytes};
    const std::size_t more_lines = (packet_bytes - 1) / kCacheLineBytes;
    const Fields fields = fields_of(RTE_PKTMBUF_HEADROOM, 1, packet_bytes, packet_bytes);
    const auto* const packet =
        rte_pktmbuf_mtod(slot.packet, const std::uint8_t*) - kIpv4FrameHeaderBytes;
    const Words& words = parts.words;
    Line line{words[0], words[1], words[2], words[3], words[4], words[5], 0, 0};
    Line received;
    std::memcpy(&received, packet, sizeof(received));
    line = (line & of_headers) | (received & ~of_headers);
    for (std::size_t i = 0; i < count; ++i) {
        prefetch(copies[i + kAhead], 0);
        prefetch(copies[i + kAhead], kFrameAt);
        rte_mbuf* const copy = copies[i];
        write_fields(*copy, fields);
        auto* const frame = reinterpret_cast<std::uint8_t*>(copy) + kFrameAt;
        std::memcpy(frame, &line, sizeof(line));
        write_flow_words(frame, headers[i], parts);
        for (std::size_t more = 1; more <= more_lines; ++more) {
            const std::size_t at = more * kCacheLineBytes;
            std::memcpy(frame + at, packet + at, kCacheLineBytes);
        }
    }
}

}  // namespace

void make_copies(std::span<rte_mbuf* const> copies,
                 CopySource source,
                 const FlowHeaders* headers,
                 const Slot& slot,
                 CopyShape shape) noexcept {
    if (shape == CopyShape::chained) {
        make_chained(copies.data(), copies.size(), source, headers, slot);
    } else {
        make_self_contained(copies.data(), copies.size(), source, headers, slot);
    }
}

/// Only the checksum differs from packet to packet: the rest of the headers is made once, in
/// registers.
void rewrite(ContentBurst content,
             CopySource source,
             const FlowHeaders& headers,
             rte_mbuf** packets) noexcept {
    using Half [[gnu::vector_size(16)]] = std::uint64_t;
    const std::uint16_t payload_bytes = content.front().payload_bytes;
    const std::uint16_t header_bytes = source.common.header_bytes;
    const std::uint32_t packet_bytes = header_bytes + payload_bytes;
    const PacketParts parts = parts_of(source, payload_bytes, 0);
    const FlowWords flow = flow_words(headers, parts);
    const std::uint16_t udp_known = fold_sum(std::uint32_t{headers.udp_sum} + parts.udp_rest);
    const Half first{flow.first, parts.words[1]};
    const Half second{parts.words[2], flow.third};
    for (std::size_t i = 0; i < content.size(); ++i) {
        rte_mbuf& packet = *content[i].packet;
        packet.data_off = static_cast<std::uint16_t>(packet.data_off - header_bytes);
        // What was found out on its way in; where its memory is from is not for us to forget.
        packet.ol_flags &= RTE_MBUF_F_EXTERNAL | RTE_MBUF_F_INDIRECT;
        packet.pkt_len = packet_bytes;
        packet.data_len = static_cast<std::uint16_t>(packet_bytes);
        auto* const frame = rte_pktmbuf_mtod(&packet, std::uint8_t*);
        // Not a byte more than the headers: behind them lies the payload.
        std::memcpy(frame, &first, sizeof(first));
        std::memcpy(frame + sizeof(first), &second, sizeof(second));
        std::memcpy(frame + 2 * sizeof(first), &flow.fourth, sizeof(flow.fourth));
        store_word(frame + kUdpChecksumAt, udp_checksum(udp_known, content[i].payload_sum));
        packets[i] = &packet;
    }
}

}  // namespace penstock
