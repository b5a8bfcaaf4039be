#include "simulator/placement.h"

#include <gtest/gtest.h>

namespace penstock::simulator {
namespace {

PlacementPlan small_plan() {
    PlacementPlan plan;
    plan.servers = 100;
    plan.duration_s = 300;
    return plan;
}

TEST(Placement, EveryPolicyIsGivenTheSameStreams) {
    const PlacementQuality ours = measure_placement(Policy::ours, small_plan());
    EXPECT_GT(ours.placed, 500);
    for (std::size_t i = 0; i < kPolicies; ++i) {
        const PlacementQuality other = measure_placement(static_cast<Policy>(i), small_plan());
        EXPECT_EQ(other.placed + other.refused, ours.placed + ours.refused) << i;
    }
}

TEST(Placement, SameSeedGivesTheSameFigures) {
    EXPECT_EQ(measure_placement(Policy::two_choices, small_plan()).mean,
              measure_placement(Policy::two_choices, small_plan()).mean);
    PlacementPlan other = small_plan();
    other.seed = 2;
    EXPECT_NE(measure_placement(Policy::two_choices, small_plan()).mean,
              measure_placement(Policy::two_choices, other).mean);
}

TEST(Placement, SpreadsBetterThanChanceAndThanStaleFigures) {
    const PlacementQuality ours = measure_placement(Policy::ours, small_plan());
    EXPECT_GE(ours.mean, 1);
    EXPECT_EQ(ours.refused, 0);
    for (const Policy other : {Policy::random, Policy::stale_figures}) {
        EXPECT_LT(ours.mean, measure_placement(other, small_plan()).mean) << name_of(other);
    }
}

}  // namespace
}  // namespace penstock::simulator
