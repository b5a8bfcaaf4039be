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

PacketCount StreamRing::release(PacketCount packets) noexcept {
    const PacketCount count = std::min(packets, this->packets());
    FreedPackets freed;
    for (PacketCount i = 0; i < count; ++i) {
        evict_oldest(freed);
    }
    return count;
}

void StreamRing::release_before(Sequence sequence) noexcept {
    FreedPackets freed;
    while (oldest_ < sequence) {
        evict_oldest(freed);
    }
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
void push(Stream& stream, ContentBurst run, Ticks now, FreedPackets& freed) noexcept {
    stream.totals.packets_in += run.size();
    for (const Content& arrived : run) {
        stream.totals.bytes_in += arrived.payload_bytes;
        stream.ring.push({.packet = arrived.packet,
                          .payload_bytes = arrived.payload_bytes,
                          .payload_sum = arrived.payload_sum,
                          .arrival_ticks = now},
                         freed);
    }
}

}  // namespace

PacketCount store(ContentBurst content, Ticks now, Replicate& replicate) noexcept {
    const auto packets = static_cast<PacketCount>(content.size());
    // A single stream's ring is in the cache.
    if (!content.empty() && content.front().stream != content.back().stream &&
        goes_into_ring(*content.front().stream)) {
        prefetch(content);
    }
    while (!content.empty()) {
        content = content.subspan(replicate.send_at_once(content, now));
        if (!content.empty()) {
            const ContentBurst run = content.first(run_length(content));
            Stream& stream = *run[0].stream;
            push(stream, run, now, replicate.freed());
            replicate.activate(stream);
            content = content.subspan(run.size());
        }
    }
    return packets;
}

}  // namespace penstock
