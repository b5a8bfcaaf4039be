#pragma once

#include "data_path/counters.h"
#include "data_path/flow.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace penstock {

/// One consumer as its stream's owner keeps it, apart from what every copy needs: cold memory.
/// Allocated by control, zeroed; the worker's from AddFlow until RemoveFlow has been applied, but
/// for `counters`, which control may read at any time.
struct alignas(kCacheLineBytes) FlowRecord {
    // Written: owner worker. Read: control.
    FlowCounters counters;

    // Owner worker only.
    std::uint32_t position;  // in its group
    std::uint8_t port;       // whose group
    // A live flow gets every packet, so it has had its stream's totals since it went live. These
    // make those totals its own: history is added, what went before it or was lost is taken off
    // (modulo 2^64).
    std::uint64_t copies_base;
    std::uint64_t copy_bytes_base;
    std::uint64_t lost_base;
    // While it catches up with the live packets:
    std::uint64_t next_sequence;        // the packet it gets next
    std::uint32_t joined_at_ticks;      // see Slot::arrival_ticks
    std::uint32_t first_arrival_ticks;  // of the first packet of its history
};
static_assert(sizeof(FlowRecord) <= 2 * kCacheLineBytes);

inline constexpr std::uint32_t kFlowsPerChunk = 64;
/// The first flows of a group: most streams have no more, and where there are thousands of them,
/// what their packets touch lies in an eighth of the pages.
inline constexpr std::uint32_t kFewFlows = 8;

/// Memory for a chunk, or for the few flows that a group begins with. Allocated by control.
template <std::uint32_t kPlaces>
struct alignas(kCacheLineBytes) FlowPlaces {
    std::array<FlowHeaders, kPlaces> headers;
    std::array<FlowRecord*, kPlaces> records;
};

/// Flows side by side: what each copy needs, and whose it is.
struct FlowChunk {
    FlowHeaders* headers = nullptr;
    FlowRecord** records = nullptr;
    std::uint32_t places = 0;  // of each: kFlowsPerChunk; of a group's only chunk, or kFewFlows

    template <std::uint32_t kPlaces>
    static FlowChunk of(FlowPlaces<kPlaces>& memory) noexcept {
        return {
            .headers = memory.headers.data(), .records = memory.records.data(), .places = kPlaces};
    }
};

/// The flows of one stream on one port, without holes: positions 0..live-1 get every packet, those
/// behind them, live..live+catching_up-1, are still in their history.
/// Fan-out serves the live ones from one position to the last, then from the first to that one, and
/// each packet's begins a chunk further on than the last one's. So nobody is always last, and what
/// changes for a flow from one packet to the next is no more than a chunk, but once in a round.
/// (A single chunk leaves in one burst: there it always begins with the first.)
/// Thread: the stream's owner worker, unless said otherwise.
class alignas(kCacheLineBytes) FlowGroup {
  public:
    /// Room for more: a further chunk, or one that takes the place of the few flows' after whose
    /// memory nobody asks any more. `directory` (of `directory_chunks` places) replaces the present
    /// one if that is full, else it is nullptr; a group of one chunk needs none.
    void grow(const FlowChunk& chunk,
              FlowChunk* directory,
              std::uint32_t directory_chunks) noexcept;

    /// Appends a flow that catches up. There must be room.
    void add_catching_up(FlowRecord& record, const FlowHeaders& headers) noexcept;
    /// Makes a flow that catches up the last of the live ones.
    void promote(FlowRecord& record) noexcept;
    /// Takes a flow out. `served` of the live flows, the first ones in the order of service, have
    /// had the packet in fan-out: after the call it says how many of those that remain have.
    void remove(FlowRecord& record, std::uint32_t& served) noexcept;
    void update(const FlowRecord& record, const FlowHeaders& headers) noexcept;

    [[nodiscard]] std::uint32_t live() const noexcept { return live_; }
    [[nodiscard]] std::uint32_t catching_up() const noexcept { return catching_up_; }
    [[nodiscard]] bool is_live(const FlowRecord& record) const noexcept {
        return record.position < live_;
    }

    /// The live flow that is served as number `place`, from 0.
    [[nodiscard]] std::uint32_t position_of(std::uint32_t place) const noexcept {
        const std::uint32_t position = start_ + place;
        return position < live_ ? position : position - live_;
    }
    /// The converse, of a live flow's position.
    [[nodiscard]] std::uint32_t place_of(std::uint32_t position) const noexcept {
        return position < start_ ? position + live_ - start_ : position - start_;
    }
    /// Whether a fan-out that has served `served` flows has come to the first position again: it
    /// will not come to a flow that promote() appends now.
    [[nodiscard]] bool has_wrapped(std::uint32_t served) const noexcept {
        return start_ + served > live_;
    }
    /// Between two packets: the next one's fan-out begins a chunk further on.
    void rotate() noexcept {
        if (live_ <= kFlowsPerChunk && start_ == 0) {
            return;  // nothing written: the groups of many small streams stay clean in the cache
        }
        const std::uint32_t next = (start_ / kFlowsPerChunk + 1) * kFlowsPerChunk;
        start_ = next < live_ ? next : 0;
    }

    /// The chunk of a position, and the place in it.
    [[nodiscard]] const FlowChunk& chunk_of(std::uint32_t position) const noexcept {
        return position < kFlowsPerChunk ? first_chunk_ : directory_[position / kFlowsPerChunk];
    }
    [[nodiscard]] const FlowHeaders& headers_of(std::uint32_t position) const noexcept {
        return chunk_of(position).headers[position % kFlowsPerChunk];
    }
    [[nodiscard]] FlowRecord& record_at(std::uint32_t position) const noexcept {
        return *chunk_of(position).records[position % kFlowsPerChunk];
    }
    /// One that catches up, another with every call.
    [[nodiscard]] FlowRecord& next_catching_up() noexcept {
        turn_ = turn_ + 1 < catching_up_ ? turn_ + 1 : 0;
        return record_at(live_ + turn_);
    }

  private:
    [[nodiscard]] std::uint32_t places() const noexcept {
        return chunks_ > 1 ? chunks_ * kFlowsPerChunk : first_chunk_.places;
    }
    void move(std::uint32_t from, std::uint32_t to) noexcept;
    void swap(std::uint32_t a, std::uint32_t b) noexcept;

    FlowChunk first_chunk_;
    std::uint32_t live_ = 0;
    std::uint32_t start_ = 0;  // the position served first, at most live_
    std::uint32_t catching_up_ = 0;
    std::uint32_t turn_ = 0;          // of those that catch up, the one served last
    FlowChunk* directory_ = nullptr;  // of all chunks but the first, by their number
    std::uint32_t directory_chunks_ = 0;
    std::uint32_t chunks_ = 0;
};
static_assert(sizeof(FlowGroup) == kCacheLineBytes);

}  // namespace penstock
