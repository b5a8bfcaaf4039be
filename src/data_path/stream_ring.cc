#include "data_path/stream_ring.h"

#include "base/check.h"
#include "data_path/replicate.h"
#include "data_path/stream.h"

#include <rte_prefetch.h>

#include <algorithm>
#include <array>
#include <bit>
#include <span>

namespace penstock {

StreamRing::StreamRing(std::span<Slot> slots,
                       std::uint32_t packets_max,
                       std::uint64_t bytes_max) noexcept
    : slots_(slots.data()),
      bytes_max_(bytes_max),
      mask_(static_cast<std::uint32_t>(slots.size() - 1)),
      packets_max_(packets_max) {
    PENSTOCK_CHECK(std::has_single_bit(slots.size()));
    PENSTOCK_CHECK(packets_max >= 1 && packets_max <= slots.size());
}

void StreamRing::push(const Slot& slot) noexcept {
    while (packets() > 0 &&
           (packets() >= packets_max_ || bytes_ + slot.payload_bytes > bytes_max_)) {
        evict_oldest();
    }
    slots_[next_ & mask_] = slot;
    bytes_ += slot.payload_bytes;
    ++next_;
}

PacketCount StreamRing::release(PacketCount packets) noexcept {
    const PacketCount count = std::min(packets, this->packets());
    for (PacketCount i = 0; i < count; ++i) {
        evict_oldest();
    }
    return count;
}

void StreamRing::release_before(Sequence sequence) noexcept {
    while (oldest_ < sequence) {
        evict_oldest();
    }
}

void StreamRing::evict_oldest() noexcept {
    // Those to go soon were last touched a whole ring ago: both their cache lines have left.
    constexpr Sequence kPrefetchAhead = 8;
    if (packets() > kPrefetchAhead) {
        prefetch_packet(slots_[(oldest_ + kPrefetchAhead) & mask_].packet);
    }
    const Slot& oldest = slots_[oldest_ & mask_];
    bytes_ -= oldest.payload_bytes;
    rte_pktmbuf_free_seg(oldest.packet);
    ++oldest_;
}

Sequence StreamRing::first_within(Ticks age, Ticks now) const noexcept {
    Sequence low = oldest_;
    Sequence high = next_;
    while (low < high) {
        const Sequence middle = low + (high - low) / 2;
        if (static_cast<Ticks>(now - (*this)[middle].arrival_ticks) > age) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

namespace {

/// Packets of one stream, one after the other.
struct Run {
    Stream* stream;
    std::uint32_t packets;
    std::uint32_t payload_bytes;
};
using Runs = std::array<Run, kRxBurstPackets>;

std::span<Run> runs_of(ContentBurst content, Runs& runs) noexcept {
    std::size_t count = 0;
    for (std::size_t i = 0; i < content.size();) {
        Run run{.stream = content[i].stream, .packets = 0, .payload_bytes = 0};
        for (; i < content.size() && content[i].stream == run.stream; ++i) {
            run.packets += 1;
            run.payload_bytes += content[i].payload_bytes;
        }
        runs[count++] = run;
    }
    return std::span{runs}.first(count);
}

/// Fetches what storing will touch, step by step, so that the misses of all streams overlap.
void prefetch(std::span<const Run> runs) noexcept {
    for (const Run& run : runs) {
        rte_prefetch0(&run.stream->ring);
        rte_prefetch0(&run.stream->totals);
    }
    for (const Run& run : runs) {
        run.stream->ring.prefetch_slots();
    }
    for (const Run& run : runs) {
        if (run.stream->ring.is_full()) {
            run.stream->ring.prefetch_oldest();
        }
    }
}

void push(const Run& run, ContentBurst content, Ticks now) noexcept {
    Stream& stream = *run.stream;
    stream.totals.packets_in += run.packets;
    stream.totals.bytes_in += run.payload_bytes;
    for (const Content& arrived : content) {
        stream.ring.push({.packet = arrived.packet,
                          .payload_bytes = arrived.payload_bytes,
                          .payload_sum = arrived.payload_sum,
                          .arrival_ticks = now});
    }
}

}  // namespace

PacketCount store(ContentBurst content, Ticks now, Replicate& replicate) noexcept {
    const auto packets = static_cast<PacketCount>(content.size());
    Runs room;
    const std::span<const Run> runs = runs_of(content, room);
    if (runs.size() > 1 && runs.front().stream->keeps_history) {
        prefetch(runs);
    }
    for (const Run& run : runs) {
        const ContentBurst of_run = content.first(run.packets);
        if (replicate.may_send_at_once(*run.stream)) {
            replicate.send_at_once(*run.stream, of_run);
        } else {
            push(run, of_run, now);
            replicate.activate(*run.stream);
        }
        content = content.subspan(run.packets);
    }
    return packets;
}

}  // namespace penstock
