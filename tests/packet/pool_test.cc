#include "support/numbered_content.h"
#include "support/worker_world.h"

#include <gtest/gtest.h>
#include <rte_cycles.h>
#include <rte_mempool.h>

#include <map>
#include <vector>

namespace penstock {
namespace {

constexpr std::uint32_t kPool = 2047;
constexpr std::uint32_t kLow = 400;

/// Rings that may hold more together than the pool has.
class ShortPool : public testing::Test {
  protected:
    static WorldOptions options(std::uint32_t low = kLow) {
        WorldOptions options;
        options.payload_mbufs = kPool;
        options.payloads_low = low;
        return options;
    }
    explicit ShortPool(std::uint32_t low = kLow) : world_(options(low)) {}

    Stream* open(std::uint16_t udp_port, std::uint32_t ring_packets = 2048) {
        Stream* stream = world_.open_published(udp_port, ring_packets);
        world_.settle();
        return stream;
    }
    void store(Stream* stream, unsigned packets) {
        for (unsigned i = 0; i < packets; ++i) {
            world_.receive(numbered(++newest_[stream], stream->udp_port));
        }
        world_.settle();
    }
    /// All that a ring holds came `ms` ago.
    static void came(Stream* stream, std::uint64_t ms) {
        const auto ticks =
            static_cast<Ticks>((rte_rdtsc() - ms * (rte_get_tsc_hz() / 1000)) >> kTicksShift);
        for (Sequence at = stream->ring.oldest(); at < stream->ring.next(); ++at) {
            const_cast<Slot&>(stream->ring[at]).arrival_ticks = ticks;
        }
    }
    [[nodiscard]] std::uint32_t free_packets() const {
        return rte_mempool_avail_count(world_.payloads());
    }

    WorkerWorld world_;
    std::map<Stream*, unsigned> newest_;
};

TEST_F(ShortPool, ReceivingGoesOnAndTheOldestPacketsGo) {
    Stream* stream = open(20000);
    FlowRecord* flow = world_.add_flow(stream, 1);
    world_.settle();
    for (unsigned round = 0; round < 50; ++round) {
        store(stream, 100);
        EXPECT_EQ(world_.sent().size(), 100U);
        world_.publish_counters();  // some ms pass
        EXPECT_GE(free_packets(), kLow);
    }
    EXPECT_EQ(world_.counters().content.read(), 5000U);
    EXPECT_EQ(stream->ring.next(), 5000U);
    EXPECT_GT(world_.counters().pool_short.read(), 0U);
    EXPECT_EQ(world_.counters().pool_evicted.read(), stream->ring.oldest());
    EXPECT_GT(stream->ring.packets(), kPool - 3 * kLow);  // no more than was needed
    EXPECT_EQ(world_.dropped_in_all(), 0U);
    world_.publish_counters();
    EXPECT_EQ(flow->counters.copies.read(), 5000U);
    EXPECT_EQ(stream->counters.ring_packets.read(), stream->ring.packets());
}

TEST_F(ShortPool, OldestHistoryGoesFirstWhosesoeverItIs) {
    Stream* young = open(20000);
    Stream* old = open(20001);
    Stream* middle = open(20002);
    for (Stream* stream : {young, old, middle}) {
        store(stream, 500);
    }
    came(old, 60'000);
    came(middle, 20'000);
    store(young, 300);  // 1800 of 2047: short by 153
    world_.publish_counters();
    EXPECT_LT(old->ring.packets(), 500U);
    EXPECT_GT(old->ring.packets(), 0U);
    EXPECT_EQ(middle->ring.packets(), 500U);
    EXPECT_EQ(young->ring.packets(), 800U);
    store(young, 400);
    world_.publish_counters();
    store(young, 100);
    world_.publish_counters();
    EXPECT_EQ(old->ring.packets(), 0U);
    EXPECT_LT(middle->ring.packets(), 500U);
    EXPECT_EQ(young->ring.packets(), 1300U);
}

TEST_F(ShortPool, OldestGoesFirstAmongMoreStreamsThanAreLookedAtAtOnce) {
    std::vector<Stream*> young;
    std::vector<Stream*> old;
    for (std::uint16_t i = 0; i < 100; ++i) {
        const bool is_old = i % 25 == 7;
        Stream* stream = open(static_cast<std::uint16_t>(20000 + i), 64);
        store(stream, is_old ? 64 : 14);
        came(stream, is_old ? 60'000 : 1'000);
        (is_old ? old : young).push_back(stream);
    }
    store(young[3], 40);
    store(young[4], 25);  // 1665 of 2047: short, until there are 600 free
    world_.publish_counters();
    EXPECT_GE(free_packets(), kLow + kLow / 2);
    for (std::size_t i = 0; i < young.size(); ++i) {
        EXPECT_GE(young[i]->ring.packets(), 14U) << i;
    }
    EXPECT_EQ(world_.counters().pool_evicted.read(), 600U - (kPool - 1665U) + 1);
}

TEST_F(ShortPool, StreamThatClosesMeanwhileIsLeftOut) {
    Stream* first = open(20000);
    Stream* second = open(20001);
    Stream* third = open(20002);
    for (Stream* stream : {first, second, third}) {
        store(stream, 550);
    }
    world_.publish_counters();
    for (Stream* stream : {second, third, first}) {
        world_.close_stream(stream);
        world_.publish_counters();
    }
    EXPECT_EQ(world_.mbufs_in_use(), 0U);
}

TEST_F(ShortPool, JoinerThatLosesHistoryByItIsCounted) {
    Stream* stream = open(20000);
    store(stream, 1000);
    came(stream, 60'000);
    store(stream, 100);
    FlowRecord* joiner = world_.add_flow(stream, 1, 0, {.packets = 1100});
    world_.turn();  // the first 32 of them
    EXPECT_EQ(numbers_by_consumer(world_.sent()).at(1), numbers(1, 32));
    for (Sequence at = 32; at < 1100; ++at) {  // what is left is not due for a while
        const_cast<Slot&>(stream->ring[at]).arrival_ticks += 40'000;
    }
    store(stream, 700);  // 1800 of 2047
    world_.publish_counters();
    EXPECT_GT(world_.counters().pool_evicted.read(), 0U);
    EXPECT_GT(world_.dropped(DropReason::history_overrun), 0U);
    EXPECT_EQ(world_.dropped_in_all(), world_.dropped(DropReason::history_overrun));
    EXPECT_EQ(joiner->counters.lost.read(), world_.dropped(DropReason::history_overrun));
}

/// Whatever happens the pool is short.
class AlwaysShortPool : public ShortPool {
  protected:
    AlwaysShortPool() : ShortPool(kPool + 1) {}
};

TEST_F(AlwaysShortPool, WhatConsumersHaveYetToGetStays) {
    Stream* kept = open(20000);
    Stream* unkept = open(20001, 0);
    for (unsigned consumer = 0; consumer < 300; ++consumer) {
        world_.add_flow(kept, consumer);
        world_.add_flow(unkept, consumer + 1000);
        world_.turn();
    }
    world_.settle();
    for (unsigned number = 1; number <= 20; ++number) {
        world_.receive(numbered(number, 20000));
        world_.receive(numbered(number, 20001));
    }
    std::map<unsigned, std::vector<unsigned>> got;
    for (unsigned turn = 0; turn < 100; ++turn) {
        const std::uint64_t due = rte_rdtsc() + rte_get_tsc_hz() / 2'000;
        while (rte_rdtsc() < due) {
        }
        world_.turn();
        collect_numbers(world_.sent(), got);
    }
    for (unsigned consumer = 0; consumer < 300; ++consumer) {
        EXPECT_EQ(got[consumer], numbers(1, 20)) << consumer;
        EXPECT_EQ(got[consumer + 1000], numbers(1, 20)) << consumer;
    }
    EXPECT_EQ(world_.counters().pool_evicted.read(), 20U);
    EXPECT_EQ(kept->ring.packets(), 0U);
    EXPECT_EQ(world_.dropped_in_all(), 0U);
    EXPECT_EQ(world_.mbufs_in_use(), 0U);
}

/// There is always enough.
class AmplePool : public ShortPool {
  protected:
    AmplePool() : ShortPool(100) {}
};

TEST_F(AmplePool, NothingIsEvictedWhileEnoughIsFree) {
    Stream* stream = open(20000);
    store(stream, 1900);
    world_.publish_counters();
    EXPECT_EQ(world_.counters().pool_short.read(), 0U);
    EXPECT_EQ(world_.counters().pool_evicted.read(), 0U);
    EXPECT_EQ(stream->ring.packets(), 1900U);
}

}  // namespace
}  // namespace penstock
