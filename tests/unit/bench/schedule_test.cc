#include "penstock_bench/schedule.h"

#include <gtest/gtest.h>

namespace penstock::bench {
namespace {

TEST(Schedule, HasTheFirstPacketDueAtItsBeginning) {
    const Schedule schedule(1'000, 10, 500);
    EXPECT_EQ(schedule.due(), 1'000U);
    EXPECT_EQ(schedule.passed(), 0U);
}

TEST(Schedule, KeepsItsRateHoweverTheIntervalIsRounded) {
    Schedule schedule(0, 3, 10);  // 3 1/3 cycles
    for (int i = 0; i < 3'000; ++i) {
        schedule.pass();
    }
    EXPECT_EQ(schedule.due(), 10'000U);
    EXPECT_EQ(schedule.passed(), 3'000U);
}

}  // namespace
}  // namespace penstock::bench
