#include "penstock_bench/maximum_rate.h"

#include <gtest/gtest.h>

#include <vector>

namespace penstock::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr TrialPlan kPlan{
    .trials = 3, .trial_time = milliseconds{10}, .warm_up = milliseconds{200}};

TEST(MaximumRate, IsTheMedianOfTheTrialsAfterTheWarmUp) {
    std::vector<nanoseconds> durations;
    const std::vector<double> rates{1'000, 5, 9, 7};
    const auto rate = maximum_rate(kPlan, [&](nanoseconds duration) {
        durations.push_back(duration);
        return rates.at(durations.size() - 1);
    });
    ASSERT_TRUE(rate.ok());
    EXPECT_DOUBLE_EQ(*rate, 7);
    EXPECT_EQ(durations,
              (std::vector<nanoseconds>{
                  milliseconds{200}, milliseconds{10}, milliseconds{10}, milliseconds{10}}));
}

TEST(MaximumRate, IsAnErrorIfNothingCameThrough) {
    const auto rate = maximum_rate(kPlan, [](nanoseconds /*duration*/) { return 0.0; });
    ASSERT_FALSE(rate.ok());
    EXPECT_EQ(rate.error().code, ErrorCode::unavailable);
}

}  // namespace
}  // namespace penstock::bench
