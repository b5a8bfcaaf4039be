#include "data_path/packet_copy.h"

#include "data_path/checksum.h"
#include "data_path/packet_headers.h"

#include <rte_mbuf.h>
#include <rte_memcpy.h>
#include <rte_prefetch.h>

#include <cstddef>
#include <cstring>

namespace penstock {
namespace {

/// 16 bytes of an mbuf, written at once.
using Words [[gnu::vector_size(16)]] = std::uint64_t;

// The two groups of mbuf fields that are the same for all copies of a packet.
static_assert(offsetof(rte_mbuf, refcnt) == offsetof(rte_mbuf, data_off) + 2);
static_assert(offsetof(rte_mbuf, nb_segs) == offsetof(rte_mbuf, data_off) + 4);
static_assert(offsetof(rte_mbuf, port) == offsetof(rte_mbuf, data_off) + 6);
static_assert(offsetof(rte_mbuf, ol_flags) == offsetof(rte_mbuf, data_off) + 8);
static_assert(offsetof(rte_mbuf, pkt_len) == offsetof(rte_mbuf, packet_type) + 4);
static_assert(offsetof(rte_mbuf, data_len) == offsetof(rte_mbuf, packet_type) + 8);

constexpr std::uint64_t kReferences = 1;
constexpr std::uint64_t kNoPort = RTE_MBUF_PORT_INVALID;

/// data_off, refcnt, nb_segs, port; ol_flags (none).
Words first_fields(std::uint64_t segments) noexcept {
    return Words{RTE_PKTMBUF_HEADROOM | kReferences << 16U | segments << 32U | kNoPort << 48U, 0};
}

/// packet_type (none), pkt_len; data_len, vlan_tci, hash (none).
Words length_fields(std::uint64_t packet_bytes, std::uint64_t first_segment_bytes) noexcept {
    return Words{packet_bytes << 32U, first_segment_bytes};
}

/// Where a mbuf of a copy pool keeps its data: such pools have no private area between the two.
constexpr std::size_t kFrameAt = sizeof(rte_mbuf) + RTE_PKTMBUF_HEADROOM;

/// `copy` may be any pointer: the places behind a burst hold old ones, or none.
void prefetch(const rte_mbuf* copy, std::size_t at) noexcept {
    rte_prefetch0(reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(copy) + at));
}

template <CopyShape shape>
void make(std::span<rte_mbuf*> copies, const FlowTemplate* headers, const Slot& slot) noexcept {
    const std::uint32_t header_bytes = headers->header_bytes;
    const std::uint32_t packet_bytes = header_bytes + slot.payload_bytes;
    const bool chained = shape == CopyShape::chained;
    const Words first = first_fields(chained ? 2 : 1);
    const Words lengths = length_fields(packet_bytes, chained ? header_bytes : packet_bytes);
    const std::uint16_t udp_length =
        to_network(static_cast<std::uint16_t>(kUdpBytes + slot.payload_bytes));
    const std::uint16_t ip_length =
        to_network(static_cast<std::uint16_t>(kIpv4Bytes + kUdpBytes + slot.payload_bytes));
    // The UDP length counts twice: in the header and in the pseudo header (RFC 768).
    const std::uint16_t udp_rest =
        fold_sum(std::uint32_t{slot.payload_sum} + udp_length + udp_length);
    rte_mbuf* const payload = slot.packet;
    const void* const payload_data = rte_pktmbuf_mtod(payload, const void*);

    for (std::size_t i = 0; i < copies.size(); ++i) {
        rte_mbuf* const ahead = copies.data()[i + kCopiesReadAhead];
        prefetch(ahead, 0);
        if (chained) {
            prefetch(ahead, offsetof(rte_mbuf, next));
        }
        prefetch(ahead, kFrameAt);
        rte_mbuf* const copy = copies[i];
        std::memcpy(&copy->data_off, &first, sizeof(first));
        std::memcpy(&copy->packet_type, &lengths, sizeof(lengths));
        if (chained) {
            copy->next = payload;
        }
        auto* const frame = reinterpret_cast<std::uint8_t*>(copy) + kFrameAt;
        const std::uint8_t* const known = headers[i].headers.data();
        std::memcpy(frame, &headers[i], sizeof(FlowTemplate));
        store_word(frame + kIpv4LengthAt, ip_length);
        store_word(frame + kIpv4ChecksumAt,
                   ip_checksum(load_word(known + kIpv4ChecksumAt), ip_length));
        store_word(frame + kUdpLengthAt, udp_length);
        store_word(frame + kUdpChecksumAt,
                   udp_checksum(load_word(known + kUdpChecksumAt), udp_rest));
        if (!chained) {
            rte_memcpy(frame + header_bytes, payload_data, slot.payload_bytes);
        }
    }
}

}  // namespace

void make_copies(std::span<rte_mbuf*> copies,
                 const FlowTemplate* headers,
                 const Slot& slot,
                 CopyShape shape) noexcept {
    if (shape == CopyShape::chained) {
        make<CopyShape::chained>(copies, headers, slot);
    } else {
        make<CopyShape::self_contained>(copies, headers, slot);
    }
}

}  // namespace penstock
