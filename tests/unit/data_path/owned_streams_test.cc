#include "data_path/owned_streams.h"

#include "data_path/shares.h"
#include "dpdk/packet_pool.h"

#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include <deque>
#include <vector>

namespace penstock {
namespace {

constexpr Ticks kNow = 1'000'000;

/// Streams without flows, all of whose packets live consumers have had.
class EvictionTest : public testing::Test {
  protected:
    EvictionTest() : pool_(PacketPool::create("eviction_test", 2047, 256, 0).value()) {}
    ~EvictionTest() override {
        for (Stream& stream : streams_) {
            stream.ring.release(stream.ring.packets());
        }
        EXPECT_EQ(pool_.in_use(), 0U);
    }
    /// Its packets are `age`, age - 1, age - 2 ... ticks old.
    Stream& add(std::uint32_t packets, Ticks age) {
        Stream& stream = streams_.emplace_back();
        stream.ring = StreamRing{slots_.emplace_back(64), 64, 1'000'000};
        FreedPackets freed;
        for (std::uint32_t i = 0; i < packets; ++i) {
            stream.ring.push({.packet = rte_pktmbuf_alloc(pool_.get()),
                              .payload_bytes = 10,
                              .payload_sum = 0,
                              .arrival_ticks = kNow - age + i},
                             freed);
        }
        stream.cursor.sequence = stream.ring.next();
        owned_.add(stream);
        return stream;
    }
    /// As often as a worker would.
    PacketCount evict(PacketCount packets) {
        PacketCount evicted = 0;
        for (unsigned i = 0; i < 100 && evicted < packets; ++i) {
            evicted += owned_.evict_history(packets - evicted, kNow);
        }
        return evicted;
    }

    PacketPool pool_;
    std::deque<std::vector<Slot>> slots_;
    std::deque<Stream> streams_;
    OwnedStreams owned_;
};

TEST_F(EvictionTest, TakesFromTheOldestAsManyAsAskedFor) {
    Stream& young = add(60, 1'000);
    Stream& old = add(60, 9'000);
    Stream& middle = add(60, 5'000);
    owned_.begin_eviction();
    EXPECT_EQ(evict(25), 25U);
    EXPECT_EQ(old.ring.packets(), 35U);
    EXPECT_EQ(old.ring.oldest(), 25U);
    EXPECT_EQ(evict(45), 45U);
    EXPECT_EQ(old.ring.packets(), 0U);
    EXPECT_EQ(middle.ring.packets(), 50U);
    EXPECT_EQ(evict(110), 110U);
    EXPECT_EQ(young.ring.packets(), 0U);
    EXPECT_EQ(evict(1), 0U);
}

TEST_F(EvictionTest, ThoseOfAboutTheSameAgeGiveInTurn) {
    Stream& first = add(64, 80);
    Stream& second = add(64, 80);
    owned_.begin_eviction();
    EXPECT_EQ(evict(64), 64U);
    EXPECT_NEAR(first.ring.packets(), 32, 10);
    EXPECT_NEAR(second.ring.packets(), 32, 10);
}

TEST_F(EvictionTest, GoesRoundAllStreamsBeforeItTakesAnything) {
    Stream& old = add(10, 50'000);  // the last one in the round
    for (unsigned i = 0; i < 99; ++i) {
        add(10, 1'000);
    }
    owned_.begin_eviction();
    EXPECT_EQ(evict(10), 10U);
    EXPECT_EQ(old.ring.packets(), 0U);
}

TEST_F(EvictionTest, LooksAfreshWhenItBeginsAgain) {
    add(20, 1'000);
    Stream& second = add(20, 1'000);
    owned_.begin_eviction();
    EXPECT_EQ(evict(10), 10U);
    Stream& old = add(20, 100'000);
    const std::uint32_t before = second.ring.packets();
    owned_.begin_eviction();
    EXPECT_EQ(evict(20), 20U);
    EXPECT_EQ(old.ring.packets(), 0U);
    EXPECT_EQ(second.ring.packets(), before);
}

TEST_F(EvictionTest, WhatTheCursorHasNotPassedStays) {
    Stream& stream = add(20, 1'000);
    stream.cursor.sequence = 8;
    owned_.begin_eviction();
    EXPECT_EQ(evict(20), 8U);
    EXPECT_EQ(stream.ring.oldest(), 8U);
}

TEST_F(EvictionTest, WhatAShareHasNotBeenGivenStays) {
    Stream& stream = add(20, 1'000);
    Stream slow;
    Stream quick;
    begin_feeding(stream, slow);
    begin_feeding(stream, quick);
    slow.feed.sequence = 8;
    quick.feed.sequence = 20;
    owned_.begin_eviction();
    EXPECT_EQ(evict(20), 8U);
    EXPECT_EQ(stream.ring.oldest(), 8U);
    stop_feeding(stream, slow);
    EXPECT_EQ(evict(20), 12U);
}

TEST_F(EvictionTest, StreamThatClosesIsLeftAloneWhereverTheRoundStands) {
    Stream& other = add(20, 9'000);
    Stream& stream = add(20, 9'000);
    owned_.begin_eviction();
    EXPECT_EQ(evict(1), 1U);  // and the round stands there
    ASSERT_EQ(stream.ring.packets(), 19U);
    owned_.begin_close(stream);
    EXPECT_EQ(evict(20), 20U);
    EXPECT_EQ(other.ring.packets(), 0U);
    EXPECT_EQ(stream.ring.packets(), 19U);
    EXPECT_TRUE(owned_.close_some());
    EXPECT_EQ(evict(1), 0U);
}

TEST_F(EvictionTest, WithoutStreamsThereIsNothingToTake) {
    owned_.begin_eviction();
    EXPECT_EQ(evict(10), 0U);
}

}  // namespace
}  // namespace penstock
