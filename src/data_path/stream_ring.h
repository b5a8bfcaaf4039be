#pragma once

#include "data_path/burst.h"
#include "data_path/freed_packets.h"

#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_prefetch.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace penstock {

struct Stream;
class Replicate;

/// Counts content from 0 in the order it was accepted, for the life of a stream.
using Sequence = std::uint64_t;

/// TSC >> 16, about 25 us: differences of up to 2^31 (about 15 hours) are exact.
using Ticks = std::uint32_t;
inline constexpr unsigned kTicksShift = 16;

/// One stored packet: the received mbuf itself, trimmed to its payload and frozen.
struct Slot {
    rte_mbuf* packet;  // one reference is held for the slot
    std::uint16_t payload_bytes;
    std::uint16_t payload_sum;  // RFC 1071 sum of the payload, not complemented
    Ticks arrival_ticks;
};
static_assert(sizeof(Slot) == 16);

/// The newest packets of one stream, oldest evicted first.
/// Thread: the stream's owner worker.
class StreamRing {
  public:
    StreamRing() = default;
    /// `slots`: a power of two of them, owned by control. `packets_max`: 1..slots.size().
    /// `bytes_max`: of payload; a single packet is kept whatever its size.
    StreamRing(std::span<Slot> slots, std::uint32_t packets_max, std::uint64_t bytes_max) noexcept;

    /// Stores a packet and evicts what no longer fits.
    /// Owns: takes the reference in `slot`. Evicted packets may be in flight: one reference each is
    ///       given back, never waited for. `freed` takes those that were the ring's alone.
    void push(const Slot& slot, FreedPackets& freed) noexcept {
        while (packets() > 0 &&
               (packets() >= packets_max_ || bytes_ + slot.payload_bytes > bytes_max_)) {
            evict_oldest(freed);
        }
        slots_[next_ & mask_] = slot;
        bytes_ += slot.payload_bytes;
        ++next_;
    }
    /// Evicts up to `packets` of the oldest. Returns: evicted.
    PacketCount release(PacketCount packets) noexcept;
    /// Evicts all before `sequence`, which is not after next(); nothing if they have gone already.
    void release_before(Sequence sequence) noexcept;

    /// Fetches what the next push() and the eviction in it will touch, in two steps, so that the
    /// misses of several streams overlap: first the slots, then the packet that has to go.
    void prefetch_slots() const noexcept {
        rte_prefetch0(&slots_[next_ & mask_]);
        rte_prefetch0(&slots_[oldest_ & mask_]);
    }
    void prefetch_oldest() const noexcept { prefetch_packet(slots_[oldest_ & mask_].packet); }

    [[nodiscard]] const Slot& operator[](Sequence sequence) const noexcept {
        return slots_[sequence & mask_];
    }
    [[nodiscard]] Sequence next() const noexcept { return next_; }      // of the next push
    [[nodiscard]] Sequence oldest() const noexcept { return oldest_; }  // == next() if empty
    [[nodiscard]] std::uint32_t packets() const noexcept {
        return static_cast<std::uint32_t>(next_ - oldest_);
    }
    [[nodiscard]] bool is_full() const noexcept { return packets() >= packets_max_; }
    [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
    [[nodiscard]] std::uint32_t packets_max() const noexcept { return packets_max_; }
    [[nodiscard]] std::uint64_t bytes_max() const noexcept { return bytes_max_; }
    /// The first stored packet that is not older than `age` at `now`; next() if there is none.
    /// Cost: logarithmic in the packets stored.
    [[nodiscard]] Sequence first_within(Ticks age, Ticks now) const noexcept;

  private:
    void evict_oldest(FreedPackets& freed) noexcept {
        // Those to go soon were last touched a whole ring ago: both their cache lines have left.
        // One with every packet: more at once than a CPU can wait for would hold it up.
        constexpr Sequence kPrefetchAhead = 8;
        if (packets() > kPrefetchAhead) {
            prefetch_packet(slots_[(oldest_ + kPrefetchAhead) & mask_].packet);
        }
        const Slot& oldest = slots_[oldest_ & mask_];
        bytes_ -= oldest.payload_bytes;
        ++oldest_;
        rte_mbuf* packet = oldest.packet;
        // One segment with no other behind it, as its pool wants it: nothing has to be set right.
        if (rte_mbuf_refcnt_read(packet) == 1 && RTE_MBUF_DIRECT(packet)) [[likely]] {
            freed.add(packet);
        } else {
            rte_pktmbuf_free_seg(packet);
        }
    }
    /// Both cache lines; `packet` may be stale.
    static void prefetch_packet(const rte_mbuf* packet) noexcept {
        const auto at = reinterpret_cast<std::uintptr_t>(packet);
        rte_prefetch0(reinterpret_cast<const void*>(at));
        rte_prefetch0(reinterpret_cast<const void*>(at + offsetof(rte_mbuf, next)));
    }

    // 48 bytes: with its stream's cursor one cache line.
    Slot* slots_ = nullptr;
    Sequence next_ = 0;
    Sequence oldest_ = 0;
    std::uint64_t bytes_ = 0;
    std::uint64_t bytes_max_ = 0;
    std::uint32_t mask_ = 0;
    std::uint32_t packets_max_ = 0;
};

/// A packet that classify found to be content.
struct Content {
    Stream* stream;
    rte_mbuf* packet;  // trimmed to its payload
    std::uint16_t payload_bytes;
    std::uint16_t payload_sum;
};
/// 0..kRxBurstPackets, in order of arrival.
using ContentBurst = std::span<const Content>;

/// How many of the first packets are of the first one's stream. `content`: not empty.
[[nodiscard]] inline std::size_t run_length(ContentBurst content) noexcept {
    std::size_t length = 1;
    while (length < content.size() && content[length].stream == content[0].stream) {
        ++length;
    }
    return length;
}

/// Gives each packet to replicate to be sent at once, if nothing of its stream waits before it;
/// else stores it in its stream's ring, from where replicate takes it in its turn.
/// Owns:    takes all packets.
/// Thread:  the worker that owns all of these streams.
/// Returns: packets taken: all of them.
PacketCount store(ContentBurst content, Ticks now, Replicate& replicate) noexcept;

}  // namespace penstock
