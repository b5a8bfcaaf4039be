#include "penstock_bench/rate_search.h"

#include <gtest/gtest.h>

#include <functional>

namespace penstock::bench {
namespace {

/// Searches until done; `loss` says what share is lost at a rate.
RateSearch search(double first, const SearchGoal& goal, const std::function<double(double)>& loss) {
    RateSearch search(1'000, first, goal);
    while (const auto rate = search.next()) {
        search.record(loss(*rate), false);
    }
    return search;
}

double loss_above(double capacity, double rate) {
    return rate <= capacity ? 0 : (rate - capacity) / rate;
}

TEST(RateSearch, FindsTheHighestRateWithoutLoss) {
    for (const double capacity : {15.0, 300.0, 617.0, 995.0}) {
        const RateSearch done =
            search(capacity * 1.05, {}, [&](double rate) { return loss_above(capacity, rate); });
        EXPECT_LE(done.found(), capacity);
        EXPECT_GE(done.found(), capacity * 0.985);
        ASSERT_TRUE(done.lossy().has_value());
        EXPECT_GT(*done.lossy(), capacity);
        EXPECT_LT(done.trials(), 40U);
    }
}

TEST(RateSearch, TakesTheStatedLossForNone) {
    const RateSearch done = search(500,
                                   {.loss_share = 0.1, .precision_share = 0.01},
                                   [](double rate) { return loss_above(500, rate); });
    EXPECT_NEAR(done.found(), 500 / 0.9, 10);
}

TEST(RateSearch, EndsAtTheMostThatCanBeOffered) {
    const RateSearch done = search(900, {}, [](double) { return 0.0; });
    EXPECT_DOUBLE_EQ(done.found(), 1'000);
    EXPECT_FALSE(done.lossy().has_value());
    EXPECT_EQ(done.trials(), 2U);
}

TEST(RateSearch, FindsNothingWhereEveryRateLoses) {
    const RateSearch done = search(500, {}, [](double) { return 0.5; });
    EXPECT_DOUBLE_EQ(done.found(), 0);
    EXPECT_LE(done.trials(), RateSearch::kTrialsMax);
}

TEST(RateSearch, RepeatsATrialThatLostBeforeTheBoundMoves) {
    RateSearch search(1'000, 500, {});
    search.record(0.2, false);
    EXPECT_DOUBLE_EQ(search.next().value(), 500);
    EXPECT_EQ(search.repeated(), 1U);
    search.record(0, false);
    EXPECT_DOUBLE_EQ(search.found(), 500);
}

TEST(RateSearch, BelievesASecondLoss) {
    RateSearch search(1'000, 500, {});
    search.record(0.2, false);
    search.record(0.2, false);
    EXPECT_DOUBLE_EQ(search.lossy().value(), 500);
    EXPECT_DOUBLE_EQ(search.next().value(), 250);
}

TEST(RateSearch, DoesNotCountADisturbedLossUntilThereAreTooMany) {
    RateSearch search(1'000, 500, {});
    for (unsigned i = 0; i < RateSearch::kDisturbedMax; ++i) {
        search.record(0.2, true);
        EXPECT_FALSE(search.lossy().has_value());
    }
    search.record(0.2, true);
    search.record(0.2, true);
    EXPECT_DOUBLE_EQ(search.lossy().value(), 500);
}

TEST(RateSearch, CountsADisturbedTrialThatLostNothing) {
    RateSearch search(1'000, 500, {});
    search.record(0, true);
    EXPECT_DOUBLE_EQ(search.found(), 500);
}

}  // namespace
}  // namespace penstock::bench
