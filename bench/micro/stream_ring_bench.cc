// What it costs to store a packet where the oldest has to go for it.
#include "data_path/stream_ring.h"

#include "dpdk/packet_pool.h"
#include "micro/surroundings.h"

#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <array>
#include <span>
#include <vector>

namespace penstock::bench {
namespace {

constexpr std::uint16_t kPayloadBytes = 1'316;  // as the ring counts it: no byte of it is touched
constexpr std::uint64_t kBytesMax = ~std::uint64_t{0};

/// Full rings, whose packets have room for no more than a headroom: what a ring touches of one is
/// its mbuf.
class FullRings {
  public:
    FullRings(PacketPool& pool, std::size_t rings, std::uint32_t packets)
        : pool_(pool), slots_(rings * packets) {
        for (std::size_t i = 0; i < rings; ++i) {
            rings_.emplace_back(
                std::span{slots_}.subspan(i * packets, packets), packets, kBytesMax);
        }
    }

    /// Mbufs for the next packets; whether there were enough.
    [[nodiscard]] bool receive(std::span<rte_mbuf*> packets) noexcept {
        const auto count = static_cast<unsigned>(packets.size());
        return rte_pktmbuf_alloc_bulk(pool_.get(), packets.data(), count) == 0;
    }
    /// A burst with a packet for each of the next rings in turn. Fetches what it will touch before
    /// it begins, as store() does.
    void push(std::span<rte_mbuf* const> packets) noexcept {
        for (std::size_t i = 0; i < packets.size(); ++i) {
            ring_of(i).prefetch_slots();
        }
        for (std::size_t i = 0; i < packets.size(); ++i) {
            if (ring_of(i).is_full()) {
                ring_of(i).prefetch_oldest();
            }
        }
        for (std::size_t i = 0; i < packets.size(); ++i) {
            ring_of(i).push({.packet = packets[i],
                             .payload_bytes = kPayloadBytes,
                             .payload_sum = 0,
                             .arrival_ticks = 0},
                            freed_);
        }
        freed_.flush();
        pushed_ += packets.size();
    }
    [[nodiscard]] std::uint64_t pushed() const noexcept { return pushed_; }
    /// Empties them. Returns: packets that were in them.
    std::uint64_t release() noexcept {
        std::uint64_t released = 0;
        for (StreamRing& ring : rings_) {
            released += ring.release(ring.packets());
        }
        return released;
    }

  private:
    /// Neighbours in time are far apart in memory, as streams are.
    StreamRing& ring_of(std::size_t ahead) noexcept {
        constexpr std::size_t kStride = 1'021;  // odd: it meets every ring of a power of two
        return rings_[(pushed_ + ahead) * kStride % rings_.size()];
    }

    PacketPool& pool_;
    FreedPackets freed_;
    std::vector<Slot> slots_;
    std::vector<StreamRing> rings_;
    std::uint64_t pushed_ = 0;
};

/// A slot's place in the pool; and what a burst and the pool's own caches hold.
std::uint32_t mbufs_for(std::uint64_t slots) { return static_cast<std::uint32_t>(slots + 2'047); }

/// Returns: "", or what is wrong.
std::string measure(benchmark::State& state, PacketPool& pool) {
    const auto count = static_cast<std::size_t>(state.range(0));
    const auto packets = static_cast<std::uint32_t>(state.range(1));
    const std::uint64_t slots = count * packets;
    FullRings rings(pool, count, packets);
    std::array<rte_mbuf*, kRxBurstPackets> burst;
    while (rings.pushed() < slots && rings.receive(burst)) {
        rings.push(burst);
    }
    const std::uint64_t before = rings.pushed();
    WorkTime time(state);
    while (state.KeepRunning() && rings.receive(burst)) {
        time.begin();
        rings.push(burst);
        time.end();
    }
    time.report("packet", rings.pushed() - before);
    const std::uint32_t held = pool.in_use();
    const std::uint64_t released = rings.release();
    if (held != slots || released != slots || pool.in_use() != 0) {
        return fmt::format("of {} packets in full rings {} were held, {} let go, {} did not return",
                           slots,
                           held,
                           released,
                           pool.in_use());
    }
    return {};
}

void run(benchmark::State& state, Surroundings& surroundings) {
    const auto slots = static_cast<std::uint64_t>(state.range(0) * state.range(1));
    auto pool = PacketPool::create("rings", mbufs_for(slots), RTE_PKTMBUF_HEADROOM, 0);
    const std::string wrong = pool ? measure(state, *pool) : pool.error().message;
    if (!wrong.empty()) {
        surroundings.fail(state, wrong);
    }
}

}  // namespace

void register_stream_ring(Surroundings& surroundings) {
    benchmark::RegisterBenchmark(
        "stream_ring/push", [&surroundings](benchmark::State& state) { run(state, surroundings); })
        ->ArgNames({"rings", "packets"})
        ->Args({1, 4'096})   // 0.6 MB of slots and mbufs: they stay in a cache
        ->Args({8'192, 32})  // 38 MB, each touched once in a round: they do not
        ->UseManualTime();
}

}  // namespace penstock::bench
