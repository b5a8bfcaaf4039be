#include "data_path/stream_ring.h"

#include "base/check.h"
#include "data_path/replicate.h"
#include "data_path/stream.h"

#include <rte_prefetch.h>

#include <algorithm>
#include <bit>

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
    // Those to go soon were last touched a whole ring ago: both their cache lines have left. Slots
    // behind next() hold stale pointers, or none, which a prefetch may be given.
    constexpr Sequence kPrefetchAhead = 8;
    prefetch_packet(slots_[(oldest_ + kPrefetchAhead) & mask_].packet);
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

/// Fetches what storing and replicating will touch, stream by stream, so that the misses overlap.
void prefetch(ContentBurst content) noexcept {
    const Stream* last = nullptr;
    for (const Content& arrived : content) {
        if (arrived.stream != last) {
            last = arrived.stream;
            last->ring.prefetch_slots();
            Replicate::prefetch_groups(*last);
        }
    }
    last = nullptr;
    for (const Content& arrived : content) {
        if (arrived.stream != last) {
            last = arrived.stream;
            if (last->ring.is_full()) {
                last->ring.prefetch_oldest();
            }
            Replicate::prefetch_headers(*last);
        }
    }
}

/// How many of the first packets are of the first one's stream.
std::size_t run_length(ContentBurst content) noexcept {
    std::size_t length = 1;
    while (length < content.size() && content[length].stream == content[0].stream) {
        ++length;
    }
    return length;
}

/// `run`: packets of one stream.
void store_run(ContentBurst run, Ticks now, Replicate& replicate) noexcept {
    Stream& stream = *run[0].stream;
    stream.totals.packets_in += run.size();
    for (const Content& arrived : run) {
        stream.totals.bytes_in += arrived.payload_bytes;
    }
    if (stream.only.flow != nullptr && stream.ring.packets() == 0) {
        replicate.pass(stream, run);
        return;
    }
    for (const Content& arrived : run) {
        stream.ring.push({.packet = arrived.packet,
                          .payload_bytes = arrived.payload_bytes,
                          .payload_sum = arrived.payload_sum,
                          .arrival_ticks = now});
    }
    replicate.activate(stream);
}

}  // namespace

PacketCount store(ContentBurst content, Ticks now, Replicate& replicate) noexcept {
    const auto packets = static_cast<PacketCount>(content.size());
    prefetch(content);
    while (!content.empty()) {
        const std::size_t length = run_length(content);
        store_run(content.first(length), now, replicate);
        content = content.subspan(length);
    }
    return packets;
}

}  // namespace penstock
