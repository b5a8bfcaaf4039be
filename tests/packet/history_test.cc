#include "data_path/replicate.h"
#include "support/numbered_content.h"
#include "support/worker_world.h"

#include <gtest/gtest.h>
#include <rte_cycles.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <map>
#include <vector>

namespace penstock {
namespace {

/// A stream whose ring holds packets 1..n, all arrived at the same time, so that its history is due
/// at once. The ring's own clock is written over: how late this thread runs changes nothing.
class History : public testing::Test {
  protected:
    explicit History(const WorldOptions& options = {}, std::uint32_t ring_packets = 512)
        : world_(options), stream_(world_.open_published(20000, ring_packets)) {
        world_.settle();
    }
    void store(unsigned first, unsigned last) {
        receive_numbers(world_, first, last);
        world_.settle();
        arrived(1, last, 0);
    }
    /// Packets `first` to `last`, those that the ring still holds, came `ms` ago.
    void arrived(unsigned first, unsigned last, std::uint64_t ms) {
        const auto ticks =
            static_cast<Ticks>((rte_rdtsc() - ms * (rte_get_tsc_hz() / 1000)) >> kTicksShift);
        for (Sequence sequence = first - 1; sequence < last; ++sequence) {
            if (sequence >= stream_->ring.oldest()) {
                const_cast<Slot&>(stream_->ring[sequence]).arrival_ticks = ticks;
            }
        }
    }
    /// Turns until nobody is in history any more.
    void catch_up() {
        do {
            world_.settle();
        } while (stream_->catching_up > 0);
    }
    std::map<unsigned, std::vector<unsigned>> got() { return numbers_by_consumer(world_.sent()); }

    WorkerWorld world_;
    Stream* stream_;
};

TEST_F(History, NoneStartsWithTheNextPacket) {
    store(1, 10);
    world_.add_flow(stream_, 1);
    catch_up();
    EXPECT_TRUE(world_.sent().empty());
    store(11, 12);
    EXPECT_EQ(got().at(1), numbers(11, 12));
}

TEST_F(History, OfSomePacketsIsTheNewestOnesInOrderThenLive) {
    store(1, 100);
    world_.add_flow(stream_, 1, 0, {.packets = 30});
    catch_up();
    store(101, 103);
    EXPECT_EQ(got().at(1), numbers(71, 103));
}

TEST_F(History, PauseOfHoursInItHoldsNobodyUp) {
    store(1, 10);
    const auto hour = static_cast<Ticks>((3600 * rte_get_tsc_hz()) >> kTicksShift);
    for (Sequence sequence = 0; sequence < 5; ++sequence) {
        const_cast<Slot&>(stream_->ring[sequence]).arrival_ticks -= hour;
    }
    world_.add_flow(stream_, 1, 0, {.packets = 10});
    const std::uint64_t patience_end = rte_rdtsc() + 20 * rte_get_tsc_hz();
    do {
        world_.settle();
    } while (stream_->catching_up > 0 && rte_rdtsc() < patience_end);
    EXPECT_EQ(got().at(1), numbers(1, 10));
}

TEST_F(History, LongerThanTheRingIsTheWholeRing) {
    store(1, 100);
    world_.add_flow(stream_, 1, 0, {.packets = 100'000});
    catch_up();
    EXPECT_EQ(got().at(1), numbers(1, 100));
}

TEST_F(History, OfAnEmptyRingIsEmpty) {
    world_.add_flow(stream_, 1, 0, {.packets = 10});
    world_.add_flow(stream_, 2, 0, {.ms = 10'000});
    world_.add_flow(stream_, 3, 0, {.packets = 0});
    catch_up();
    EXPECT_TRUE(world_.sent().empty());
    store(1, 2);
    const auto its = got();
    EXPECT_EQ(its.at(1), numbers(1, 2));
    EXPECT_EQ(its.at(2), numbers(1, 2));
    EXPECT_EQ(its.at(3), numbers(1, 2));
}

TEST_F(History, OfADurationStartsWithTheFirstPacketThatYoung) {
    store(1, 25);
    arrived(1, 20, 100'000);
    world_.add_flow(stream_, 1, 0, {.ms = 40'000});
    world_.add_flow(stream_, 2, 0, {.packets = 2, .ms = 40'000});   // the smaller of both
    world_.add_flow(stream_, 3, 0, {.packets = 20, .ms = 40'000});  // the smaller of both
    catch_up();
    const auto its = got();
    EXPECT_EQ(its.at(1), numbers(21, 25));
    EXPECT_EQ(its.at(2), numbers(24, 25));
    EXPECT_EQ(its.at(3), numbers(21, 25));
}

TEST_F(History, OfADurationBeyondTheClockIsTheWholeRing) {
    store(1, 25);
    world_.add_flow(stream_, 1, 0, {.ms = 4'000'000'000U});
    catch_up();
    EXPECT_EQ(got().at(1), numbers(1, 25));
}

TEST_F(History, IsPacedAtFourTimesTheOriginalSpeed) {
    store(1, 2);
    constexpr std::uint64_t kGapMs = 400;
    arrived(1, 1, kGapMs);
    arrived(2, 2, 0);
    const std::uint64_t joined = rte_rdtsc();
    world_.add_flow(stream_, 1, 0, {.packets = 2});
    world_.turn();
    EXPECT_GE(world_.waiting(), 1U);
    while (world_.waiting() < 2) {
        world_.turn();
    }
    // Never early: the second packet came that long after the first, so it is due a quarter of it
    // after the join, less the clock's ticks.
    const std::uint64_t gap = kGapMs * (rte_get_tsc_hz() / 1000);
    EXPECT_GE(rte_rdtsc() - joined, gap / kCatchUpSpeed - (4U << kTicksShift));
    catch_up();
    store(3, 3);
    EXPECT_EQ(got().at(1), numbers(1, 3));
}

TEST_F(History, IsLimitedToAShareOfATurn) {
    store(1, 100);
    world_.add_flow(stream_, 1, 0, {.packets = 100});
    world_.turn();
    EXPECT_EQ(world_.waiting(), kCatchUpCopiesPerFlow);
    catch_up();
    EXPECT_EQ(got().at(1), numbers(1, 100));
}

TEST_F(History, HasNoGapAndNoRepeatAtTheSeamWhateverArrivesMeanwhile) {
    world_.add_flow(stream_, 1);
    store(1, 200);
    unsigned number = 200;
    for (unsigned joiner = 2; joiner < 12; ++joiner) {
        world_.add_flow(stream_, joiner, 0, {.packets = 150});
        for (int turn = 0; turn < 7; ++turn) {
            world_.receive(numbered(++number));
            world_.turn();
        }
    }
    catch_up();
    store(number + 1, number + 1);
    auto its = got();
    EXPECT_EQ(its.at(1), numbers(1, number + 1));
    for (unsigned joiner = 2; joiner < 12; ++joiner) {
        const unsigned first = its.at(joiner).front();
        EXPECT_EQ(first, 200 + 7 * (joiner - 2) - 150 + 1) << joiner;
        EXPECT_EQ(its.at(joiner), numbers(first, number + 1)) << joiner;
    }
}

TEST_F(History, ManyJoinersTakeTurns) {
    store(1, 100);
    for (unsigned joiner = 0; joiner < 40; ++joiner) {
        world_.add_flow(stream_, joiner, 0, {.packets = 60});
    }
    catch_up();
    store(101, 101);
    const auto its = got();
    ASSERT_EQ(its.size(), 40U);
    for (const auto& [joiner, numbers_got] : its) {
        EXPECT_EQ(numbers_got, numbers(41, 101)) << joiner;
    }
}

TEST_F(History, ConsumerMayLeaveOrMoveInTheMiddleOfIt) {
    store(1, 100);
    FlowRecord* leaver = world_.add_flow(stream_, 1, 0, {.packets = 100});
    FlowRecord* mover = world_.add_flow(stream_, 2, 0, {.packets = 100});
    world_.add_flow(stream_, 3, 0, {.packets = 100});
    world_.turn();
    world_.remove_flow(stream_, leaver);
    world_.update_flow(stream_, mover, 20);
    catch_up();
    store(101, 101);
    auto its = got();
    EXPECT_EQ(its.at(1), numbers(1, kCatchUpCopiesPerFlow));
    EXPECT_EQ(its.at(2), numbers(1, kCatchUpCopiesPerFlow));
    EXPECT_EQ(its.at(20), numbers(kCatchUpCopiesPerFlow + 1, 101));
    EXPECT_EQ(its.at(3), numbers(1, 101));
}

TEST_F(History, CountersTellHowMuchIsLeftAndWhatWasSent) {
    store(1, 100);
    FlowRecord* flow = world_.add_flow(stream_, 1, 0, {.packets = 100});
    world_.turn();
    world_.remove_flow(stream_, flow);  // publishes for the last time
    world_.turn();
    EXPECT_EQ(flow->counters.copies.read(), kCatchUpCopiesPerFlow);
    EXPECT_EQ(flow->counters.copy_bytes.read(), kCatchUpCopiesPerFlow * kNumberedPayloadBytes);
    EXPECT_EQ(flow->counters.history_left.read(), 100U - kCatchUpCopiesPerFlow);
    flow = world_.add_flow(stream_, 2, 0, {.packets = 50});
    catch_up();
    store(101, 110);
    world_.publish_counters();
    EXPECT_EQ(flow->counters.copies.read(), 60U);
    EXPECT_EQ(flow->counters.copy_bytes.read(), 60U * kNumberedPayloadBytes);
    EXPECT_EQ(flow->counters.lost.read(), 0U);
    EXPECT_EQ(flow->counters.history_left.read(), 0U);
}

TEST_F(History, ClosingTheStreamInTheMiddleGivesEverythingBack) {
    store(1, 300);
    world_.add_flow(stream_, 1, 0, {.packets = 300});
    world_.turn();
    world_.close_stream(stream_);
    world_.settle();
    world_.sent();
    EXPECT_EQ(world_.mbufs_in_use(), 0U);
}

class SmallRing : public History {
  protected:
    SmallRing() : History({}, 64) {}
};

TEST_F(SmallRing, OvertakenByEvictionSkipsForwardAndCountsTheGap) {
    store(1, 64);
    world_.add_flow(stream_, 1, 0, {.packets = 64});
    world_.turn();  // 1..32
    receive_numbers(world_, 65, 128);
    // Two bursts of 32 arrive in two turns, in which 33.. is partly evicted before it is sent.
    catch_up();
    const auto its = got().at(1);
    EXPECT_EQ(its.back(), 128U);
    EXPECT_TRUE(std::is_sorted(its.begin(), its.end()));
    EXPECT_EQ(std::adjacent_find(its.begin(), its.end()), its.end());
    EXPECT_EQ(its.size() + world_.dropped(DropReason::history_overrun), 128U);
}

TEST_F(SmallRing, FlowThatSleptThroughAWholeRingLosesItAndCountsIt) {
    store(1, 64);
    // More joiners than are served in one turn, all applied in the first (with both GrowFlows, 32
    // commands): the last ones wait, and the ring moves on.
    std::vector<FlowRecord*> flows;
    for (unsigned joiner = 0; joiner < 30; ++joiner) {
        flows.push_back(world_.add_flow(stream_, joiner, 0, {.packets = 64}));
    }
    receive_numbers(world_, 65, 256);
    catch_up();
    world_.publish_counters();
    const auto its = got();
    std::uint64_t lost = 0;
    for (unsigned joiner = 0; joiner < 30; ++joiner) {
        const std::vector<unsigned>& numbers_got = its.at(joiner);
        EXPECT_TRUE(std::is_sorted(numbers_got.begin(), numbers_got.end()));
        EXPECT_EQ(std::adjacent_find(numbers_got.begin(), numbers_got.end()), numbers_got.end());
        EXPECT_EQ(numbers_got.back(), 256U);
        EXPECT_EQ(flows[joiner]->counters.copies.read(), numbers_got.size()) << joiner;
        EXPECT_EQ(flows[joiner]->counters.lost.read(), 256 - numbers_got.size()) << joiner;
        lost += flows[joiner]->counters.lost.read();
    }
    EXPECT_GT(world_.dropped(DropReason::history_overrun), 0U);
    EXPECT_EQ(
        lost,
        world_.dropped(DropReason::history_overrun) + world_.dropped(DropReason::fanout_overrun));
}

/// Two ports and a fan-out that is through with port 0 but not with port 1.
class SeamOverPorts : public testing::Test {
  protected:
    SeamOverPorts() : world_(two_ports()), stream_(world_.open_published()) {
        world_.add_flows(stream_, 100, 499, 1);
        world_.settle();
        receive_numbers(world_, 1, 20);
        world_.settle();
        world_.receive(numbered(21));
        world_.turn();
        EXPECT_TRUE(stream_->cursor.suspended);
        world_.sent(1);
    }
    void catch_up() {
        do {
            world_.settle();
        } while (stream_->catching_up > 0);
    }
    static WorldOptions two_ports() {
        WorldOptions options;
        options.ports = 2;
        options.wire_packets = 16384;
        options.copy_mbufs = 16383;
        return options;
    }
    WorkerWorld world_;
    Stream* stream_;
};

TEST_F(SeamOverPorts, HistoryTakesThePresentPacketItselfWhereTheFanOutIsThrough) {
    FlowRecord* joiner = world_.add_flow(stream_, 1, 0, {.packets = 10});
    world_.turn();
    catch_up();
    world_.receive(numbered(22));
    world_.settle();
    EXPECT_EQ(numbers_by_consumer(world_.sent(0)).at(1), numbers(12, 22));
    world_.publish_counters();
    EXPECT_EQ(joiner->counters.copies.read(), 11U);
    EXPECT_EQ(joiner->counters.lost.read(), 0U);
}

TEST_F(SeamOverPorts, HistoryOfThePresentPacketAloneIsThatPacket) {
    world_.add_flow(stream_, 1, 0, {.packets = 1});
    world_.turn();
    catch_up();
    world_.receive(numbered(22));
    world_.settle();
    EXPECT_EQ(numbers_by_consumer(world_.sent(0)).at(1), numbers(21, 22));
}

TEST_F(SeamOverPorts, WhereTheFanOutIsYetToComeItBringsThePresentPacket) {
    world_.add_flow(stream_, 1, 1, {.packets = 10});
    world_.turn();
    catch_up();
    world_.receive(numbered(22));
    world_.settle();
    EXPECT_EQ(numbers_by_consumer(world_.sent(1)).at(1), numbers(12, 22));
}

}  // namespace
}  // namespace penstock
