#include "data_path/stream_ring.h"

#include "dpdk/packet_pool.h"

#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include <vector>

namespace penstock {
namespace {

class StreamRingTest : public testing::Test {
  protected:
    StreamRingTest() : pool_(PacketPool::create("ring_test", 255, 512, 0).value()) {}
    ~StreamRingTest() override {
        ring_.release(ring_.packets());
        EXPECT_EQ(pool_.in_use(), 0U);
    }

    void make_ring(std::uint32_t packets_max, std::uint64_t bytes_max = 1'000'000) {
        ring_ = StreamRing{slots_, packets_max, bytes_max};
    }
    rte_mbuf* push(std::uint16_t bytes = 10, Ticks arrival = 0) {
        rte_mbuf* packet = rte_pktmbuf_alloc(pool_.get());
        EXPECT_NE(packet, nullptr);
        FreedPackets freed;
        ring_.push(
            {.packet = packet, .payload_bytes = bytes, .payload_sum = 0, .arrival_ticks = arrival},
            freed);
        return packet;
    }

    PacketPool pool_;
    std::vector<Slot> slots_{16};
    StreamRing ring_;
};

TEST_F(StreamRingTest, KeepsSequenceOrderAcrossWrap) {
    make_ring(16);
    std::vector<rte_mbuf*> packets;
    packets.reserve(40);
    for (int i = 0; i < 40; ++i) {
        packets.push_back(push());
    }
    EXPECT_EQ(ring_.oldest(), 24U);
    EXPECT_EQ(ring_.next(), 40U);
    for (Sequence sequence = 24; sequence < 40; ++sequence) {
        EXPECT_EQ(ring_[sequence].packet, packets[sequence]);
    }
    EXPECT_EQ(pool_.in_use(), 16U);
}

TEST_F(StreamRingTest, HoldsNoMorePacketsThanItMayThoughItHasMoreSlots) {
    make_ring(5);
    for (int i = 0; i < 20; ++i) {
        push();
    }
    EXPECT_EQ(ring_.packets(), 5U);
    EXPECT_EQ(ring_.bytes(), 50U);
}

TEST_F(StreamRingTest, HoldsNoMoreBytesThanItMay) {
    make_ring(16, 100);
    push(40);
    push(40);
    push(30);  // 110: the first goes
    EXPECT_EQ(ring_.packets(), 2U);
    EXPECT_EQ(ring_.bytes(), 70U);
    push(30);  // exactly 100
    EXPECT_EQ(ring_.packets(), 3U);
    push(100);
    EXPECT_EQ(ring_.packets(), 1U);
}

TEST_F(StreamRingTest, KeepsOnePacketWhateverItsSize) {
    make_ring(16, 100);
    push(1400);
    EXPECT_EQ(ring_.packets(), 1U);
    push(1);
    EXPECT_EQ(ring_.bytes(), 1U);
}

TEST_F(StreamRingTest, KeepsPacketsWithoutPayload) {
    make_ring(4, 100);
    push(100);
    push(0);
    EXPECT_EQ(ring_.packets(), 2U);
    EXPECT_EQ(ring_[1].payload_bytes, 0);
}

TEST_F(StreamRingTest, EvictionGivesBackOneReferenceAndNotThoseInFlight) {
    make_ring(1);
    rte_mbuf* packet = push();
    rte_mbuf_refcnt_update(packet, 2);
    push();
    EXPECT_EQ(rte_mbuf_refcnt_read(packet), 2);
    EXPECT_EQ(pool_.in_use(), 2U);
    rte_pktmbuf_free_seg(packet);
    rte_pktmbuf_free_seg(packet);
    EXPECT_EQ(pool_.in_use(), 1U);
}

TEST_F(StreamRingTest, ReleasesTheOldestAFewAtATime) {
    make_ring(16);
    for (int i = 0; i < 10; ++i) {
        push();
    }
    EXPECT_EQ(ring_.release(4), 4U);
    EXPECT_EQ(ring_.oldest(), 4U);
    EXPECT_EQ(ring_.release(100), 6U);
    EXPECT_EQ(ring_.release(1), 0U);
    EXPECT_EQ(ring_.bytes(), 0U);
    EXPECT_EQ(pool_.in_use(), 0U);
}

TEST_F(StreamRingTest, ReleasesWhatIsBeforeASequenceAndNothingIfThatHasGone) {
    make_ring(16);
    for (int i = 0; i < 20; ++i) {
        push();
    }
    ring_.release_before(7);
    EXPECT_EQ(ring_.oldest(), 7U);
    ring_.release_before(3);  // evicted long ago
    EXPECT_EQ(ring_.oldest(), 7U);
    ring_.release_before(20);
    EXPECT_EQ(ring_.oldest(), ring_.next());
    EXPECT_EQ(pool_.in_use(), 0U);
}

TEST_F(StreamRingTest, FindsTheFirstPacketNotOlderThanAnAge) {
    make_ring(16);
    const Ticks start = 0xfffffff0;  // the clock wraps in the middle
    for (Ticks i = 0; i < 10; ++i) {
        push(1, start + 4 * i);
    }
    const Ticks now = start + 40;
    EXPECT_EQ(ring_.first_within(0, now), ring_.next());
    EXPECT_EQ(ring_.first_within(3, now), ring_.next());
    EXPECT_EQ(ring_.first_within(4, now), 9U);
    EXPECT_EQ(ring_.first_within(7, now), 9U);
    EXPECT_EQ(ring_.first_within(8, now), 8U);
    EXPECT_EQ(ring_.first_within(40, now), 0U);
    EXPECT_EQ(ring_.first_within(1'000'000, now), 0U);
}

TEST_F(StreamRingTest, FindsNothingWhenEmpty) {
    make_ring(16);
    EXPECT_EQ(ring_.first_within(100, 7), 0U);
    EXPECT_EQ(ring_.first_within(100, 7), ring_.next());
}

TEST_F(StreamRingTest, RefusesSlotsItCannotIndex) {
    std::vector<Slot> twelve{12};
    EXPECT_DEATH((StreamRing{twelve, 12, 100}), "check failed");
    EXPECT_DEATH((StreamRing{slots_, 17, 100}), "check failed");
    EXPECT_DEATH((StreamRing{slots_, 0, 100}), "check failed");
}

TEST_F(StreamRingTest, WhatItLetsGoIsBackInItsPoolOnceItIsFlushed) {
    FreedPackets freed;
    make_ring(8);
    std::vector<rte_mbuf*> held;
    for (unsigned i = 0; i < 100; ++i) {
        rte_mbuf* packet = rte_pktmbuf_alloc(pool_.get());
        if (i % 10 == 0) {
            rte_mbuf_refcnt_update(packet, 1);
            held.push_back(packet);
        }
        ring_.push({.packet = packet, .payload_bytes = 1, .payload_sum = 0, .arrival_ticks = 0},
                   freed);
    }
    EXPECT_GT(pool_.in_use(), 8U + held.size());
    freed.flush();
    EXPECT_EQ(pool_.in_use(), 8U + held.size());
    for (rte_mbuf* packet : held) {
        rte_pktmbuf_free_seg(packet);
    }
    ring_.release(8);
    EXPECT_EQ(pool_.in_use(), 0U);
}

TEST_F(StreamRingTest, PacketsOfTwoPoolsGoBackEachToItsOwn) {
    PacketPool other = PacketPool::create("stream_ring_other", 63, 256, 0).value();
    FreedPackets freed;
    for (unsigned i = 0; i < 50; ++i) {
        freed.add(rte_pktmbuf_alloc(i % 3 == 0 ? other.get() : pool_.get()));
    }
    freed.flush();
    EXPECT_EQ(pool_.in_use(), 0U);
    EXPECT_EQ(other.in_use(), 0U);
}

}  // namespace
}  // namespace penstock
