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
      mask_(slots.size() - 1),
      bytes_max_(bytes_max),
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

void StreamRing::evict_oldest() noexcept {
    // The next one to go was last touched a whole ring ago: both its cache lines have left.
    const Slot& following = slots_[(oldest_ + 1) & mask_];
    if (oldest_ + 1 != next_) {
        rte_prefetch0(following.packet);
        rte_prefetch0(&following.packet->next);
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

PacketCount store(ContentBurst content, Ticks now, Replicate& replicate) noexcept {
    for (const Content& arrived : content) {
        Stream& stream = *arrived.stream;
        stream.ring.push({.packet = arrived.packet,
                          .payload_bytes = arrived.payload_bytes,
                          .payload_sum = arrived.payload_sum,
                          .arrival_ticks = now});
        stream.counters.packets_in.add(1);
        stream.counters.bytes_in.add(arrived.payload_bytes);
        stream.counters.ring_packets.set(stream.ring.packets());
        stream.counters.ring_bytes.set(stream.ring.bytes());
        replicate.activate(stream);
    }
    return static_cast<PacketCount>(content.size());
}

}  // namespace penstock
