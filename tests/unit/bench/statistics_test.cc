#include "penstock_bench/statistics.h"

#include <gtest/gtest.h>

namespace penstock::bench {
namespace {

TEST(Statistics, TakesTheMiddleOfAnOddNumberOfTrials) {
    const Spread spread = spread_of({5, 1, 9});
    EXPECT_DOUBLE_EQ(spread.median, 5);
    EXPECT_DOUBLE_EQ(spread.min, 1);
    EXPECT_DOUBLE_EQ(spread.max, 9);
}

TEST(Statistics, TakesTheMeanOfTheMiddleTwoOfAnEvenNumber) {
    EXPECT_DOUBLE_EQ(spread_of({4, 1, 2, 9}).median, 3);
}

TEST(Statistics, HasNothingToSayOfNoTrial) { EXPECT_DOUBLE_EQ(spread_of({}).max, 0); }

TEST(Statistics, CountsAsIdleWhatWasNotBusy) {
    EXPECT_DOUBLE_EQ(idle_share(25, 100), 0.75);
    EXPECT_DOUBLE_EQ(idle_share(0, 0), 1);
}

}  // namespace
}  // namespace penstock::bench
