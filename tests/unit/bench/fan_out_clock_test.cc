#include "penstock_bench/fan_out_clock.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace penstock::bench {
namespace {

constexpr std::uint32_t kOnTime = 30;

TEST(FanOutClock, TakesFirstAndLastCopyOfEachPacket) {
    FanOutClock clock(3, kOnTime);
    clock.take({.due_tsc = 100, .number = 0, .late_cycles = 0}, 110);
    clock.take({.due_tsc = 100, .number = 0, .late_cycles = 0}, 115);
    EXPECT_EQ(clock.complete(), 0U);
    clock.take({.due_tsc = 100, .number = 0, .late_cycles = 0}, 121);
    EXPECT_EQ(clock.complete(), 1U);
    EXPECT_EQ(clock.first().max(), 10U);
    EXPECT_EQ(clock.last().max(), 21U);
    EXPECT_EQ(clock.skew().max(), 11U);
}

TEST(FanOutClock, KnowsNoSkewOfASingleCopy) {
    FanOutClock clock(1, kOnTime);
    clock.take({.due_tsc = 5, .number = 7, .late_cycles = 0}, 9);
    EXPECT_EQ(clock.complete(), 1U);
    EXPECT_EQ(clock.skew().max(), 0U);
}

TEST(FanOutClock, KnowsWhatTheGeneratorAddedItself) {
    FanOutClock clock(1, kOnTime);
    clock.take({.due_tsc = 100, .number = 0, .late_cycles = 30}, 150);
    EXPECT_EQ(clock.last().max(), 50U);
    EXPECT_EQ(clock.added().max(), 20U);
}

TEST(FanOutClock, CountsAPacketThatWasSentLateOnlyFromWhenItWasDue) {
    FanOutClock clock(1, kOnTime);
    clock.take({.due_tsc = 100, .number = 0, .late_cycles = kOnTime}, 140);
    clock.take({.due_tsc = 110, .number = 1, .late_cycles = kOnTime + 1}, 1'000);
    EXPECT_EQ(clock.last().count(), 2U);
    EXPECT_EQ(clock.last().max(), 890U);
    EXPECT_EQ(clock.added().count(), 1U);
    EXPECT_EQ(clock.added().max(), 10U);
}

TEST(FanOutClock, LeavesAPacketOutThatLostACopy) {
    FanOutClock clock(2, kOnTime);
    clock.take({.due_tsc = 0, .number = 0, .late_cycles = 0}, 1);
    clock.take({.due_tsc = 10, .number = 1, .late_cycles = 0}, 11);
    clock.take({.due_tsc = 10, .number = 1, .late_cycles = 0}, 13);
    EXPECT_EQ(clock.complete(), 1U);
    EXPECT_EQ(clock.last().max(), 3U);
}

TEST(FanOutClock, TellsTheSameNumberInANewTrialFromTheOld) {
    FanOutClock clock(2, kOnTime);
    clock.take({.due_tsc = 0, .number = 0, .late_cycles = 0}, 1);
    clock.clear();
    clock.take({.due_tsc = 50, .number = 0, .late_cycles = 0}, 60);
    clock.take({.due_tsc = 50, .number = 0, .late_cycles = 0}, 61);
    EXPECT_EQ(clock.complete(), 1U);
    EXPECT_EQ(clock.first().max(), 10U);
}

}  // namespace
}  // namespace penstock::bench
