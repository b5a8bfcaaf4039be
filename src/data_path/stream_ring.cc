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

/// How many of the first packets are of the first one's stream.
std::size_t run_length(ContentBurst content) noexcept {
    std::size_t length = 1;
    while (length < content.size() && content[length].stream == content[0].stream) {
        ++length;
    }
    return length;
}

bool goes_into_ring(const Stream& stream) noexcept {
    return stream.keeps_history || !stream.at_once;
}

/// Applies `step` to each stream whose packets go into its ring, once for each run of them.
template <typename Step>
void for_each_ring(ContentBurst content, Step step) noexcept {
    for (; !content.empty(); content = content.subspan(run_length(content))) {
        if (goes_into_ring(*content[0].stream)) {
            step(*content[0].stream);
        }
    }
}

/// Fetches what storing will touch, step by step, so that the misses of all streams overlap.
void prefetch(ContentBurst content) noexcept {
    for_each_ring(content, [](const Stream& stream) {
        rte_prefetch0(&stream.ring);
        rte_prefetch0(&stream.totals);
    });
    for_each_ring(content, [](const Stream& stream) { stream.ring.prefetch_slots(); });
    for_each_ring(content, [](const Stream& stream) {
        if (stream.ring.is_full()) {
            stream.ring.prefetch_oldest();
        }
    });
}

/// `run`: packets of one stream.
void push(Stream& stream, ContentBurst run, Ticks now) noexcept {
    stream.totals.packets_in += run.size();
    for (const Content& arrived : run) {
        stream.totals.bytes_in += arrived.payload_bytes;
        stream.ring.push({.packet = arrived.packet,
                          .payload_bytes = arrived.payload_bytes,
                          .payload_sum = arrived.payload_sum,
                          .arrival_ticks = now});
    }
}

}  // namespace

PacketCount store(ContentBurst content, Ticks now, Replicate& replicate) noexcept {
    const auto packets = static_cast<PacketCount>(content.size());
    if (!content.empty() && goes_into_ring(*content.front().stream)) {
        prefetch(content);
    }
    while (!content.empty()) {
        const ContentBurst run = content.first(run_length(content));
        Stream& stream = *run[0].stream;
        const std::size_t at_once = replicate.packets_at_once(stream, run.size());
        if (at_once > 0) {
            replicate.send_at_once(stream, run.first(at_once), now);
        }
        if (at_once < run.size()) {
            push(stream, run.subspan(at_once), now);
            replicate.activate(stream);
        }
        content = content.subspan(run.size());
    }
    return packets;
}

}  // namespace penstock
