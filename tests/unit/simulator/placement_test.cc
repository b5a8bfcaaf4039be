#include "simulator/placement.h"

#include "wire/ticket.h"

#include <gtest/gtest.h>

#include <cstddef>

namespace penstock::simulator {
namespace {

class PlacementReports : public testing::Test {
  protected:
    static void SetUpTestSuite() { ASSERT_TRUE(initialise_cryptography()); }
};

PlacementPlan small_plan() {
    PlacementPlan plan;
    plan.servers = 40;
    plan.duration_s = 300;
    return plan;
}

double mean_of(Policy policy) {
    constexpr std::size_t kTrials = 4;
    double mean = 0;
    PlacementPlan plan = small_plan();
    for (; plan.seed <= kTrials; ++plan.seed) {
        mean += measure_placement(policy, plan).mean / kTrials;
    }
    return mean;
}

TEST_F(PlacementReports, GiveEveryPolicyTheSameStreams) {
    const PlacementQuality ours = measure_placement(Policy::ours, small_plan());
    EXPECT_GT(ours.placed, 200);
    EXPECT_EQ(ours.refused, 0);
    for (std::size_t i = 0; i < kPolicies; ++i) {
        const PlacementQuality other = measure_placement(static_cast<Policy>(i), small_plan());
        EXPECT_EQ(other.placed + other.refused, ours.placed) << name_of(static_cast<Policy>(i));
        EXPECT_GE(other.mean, 1);
        EXPECT_GE(other.p99, other.mean);
        EXPECT_GE(other.most, other.p99);
    }
}

TEST_F(PlacementReports, HaveTheSameFiguresForTheSameSeed) {
    for (const Policy policy : {Policy::ours, Policy::two_choices}) {
        EXPECT_EQ(measure_placement(policy, small_plan()).mean,
                  measure_placement(policy, small_plan()).mean);
    }
    PlacementPlan other = small_plan();
    other.seed = 2;
    EXPECT_NE(measure_placement(Policy::two_choices, small_plan()).mean,
              measure_placement(Policy::two_choices, other).mean);
}

TEST_F(PlacementReports, HaveOursBelowPoliciesThatDoNotReserve) {
    const double ours = mean_of(Policy::ours);
    for (const Policy other :
         {Policy::two_choices, Policy::figures_alone, Policy::round_robin, Policy::random}) {
        EXPECT_LT(ours, mean_of(other)) << name_of(other);
    }
}

}  // namespace
}  // namespace penstock::simulator
