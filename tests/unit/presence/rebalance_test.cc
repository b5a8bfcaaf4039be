#include "presence/rebalance.h"

#include "unit/presence/world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace penstock::presence {
namespace {

using testing::HasSubstr;

Settings settings_of(bool rebalance) {
    Settings settings;
    settings.rebalance = rebalance;
    settings.recent_period = 1s;
    return settings;
}

/// ds1 has `streams` streams, all alike, which together take `utilisation` of it; ds2 has none.
class Rebalance : public testing::Test {
  protected:
    explicit Rebalance(bool is_on = false) : world(1, settings_of(is_on)) {}

    void load(int streams, double utilisation, double other) {
        world.add_server("ds1", 0.1);
        for (int i = 1; i <= streams; ++i) {
            const std::string name = "s" + std::to_string(i);
            world.add_publisher(name);
            world.join(world.add_consumer(name));
        }
        world.server("ds1").utilisation = utilisation;
        world.add_server("ds2", other);
    }
    [[nodiscard]] control::RebalancePlan plan() const {
        return plan_rebalance(world.state, world.now);
    }
    [[nodiscard]] std::size_t moves() const { return world.count_events(EventKind::moving); }

    World world;
};

class RebalanceOn : public Rebalance {
  protected:
    RebalanceOn() : Rebalance(true) {}
};

TEST_F(Rebalance, PlansTheMoveThatBringsBusiestAndLeastBusyNearestButDoesNotDoIt) {
    load(4, 0.8, 0.2);
    world.pass(30s);
    const control::RebalancePlan found = plan();
    EXPECT_EQ(found.from, "ds1");
    EXPECT_EQ(found.to, "ds2");
    EXPECT_EQ(found.stream.size(), 2) << found.reason;
    EXPECT_NEAR(found.share, 0.2, 0.01);
    EXPECT_NEAR(found.spread, 0.6, 1e-9);
    EXPECT_NEAR(found.spread_after, 0.2, 0.02);
    EXPECT_THAT(found.reason, HasSubstr("without it ds1 and ds2 are 0."));
    EXPECT_FALSE(found.is_on);
    world.pass(120s);
    EXPECT_EQ(moves(), 0);
}

TEST_F(Rebalance, LeavesAloneWhatWouldNotComeNearerByAQuarter) {
    load(1, 0.6, 0.1);
    world.pass(30s);
    EXPECT_EQ(plan().stream, "");
    EXPECT_THAT(plan().reason, HasSubstr("nearer by a quarter: they are 0.500 apart"));
}

TEST_F(Rebalance, LeavesAloneWhatIsHardlyApart) {
    load(4, 0.29, 0.2);
    world.pass(30s);
    EXPECT_EQ(plan().stream, "");
    EXPECT_THAT(plan().reason, HasSubstr("less than 0.100 is left alone"));
}

TEST_F(Rebalance, KnowsNothingBeforeLoadsWereReportedForSomeSeconds) {
    load(4, 0.8, 0.2);
    world.pass(9s);
    EXPECT_THAT(plan().reason, HasSubstr("no two data servers have reported for long enough"));
}

TEST_F(Rebalance, GivesNoStreamToADataServerThatWasHandedOutRecently) {
    load(4, 0.8, 0.2);
    world.pass(30s);
    ASSERT_NE(plan().stream, "");
    world.add_publisher("another");
    EXPECT_EQ(plan().stream, "");
    world.pass(1s);
    EXPECT_NE(plan().stream, "");
}

TEST_F(RebalanceOn, MovesOneStreamAMinute) {
    load(6, 0.8, 0.1);
    world.pass(25s);
    EXPECT_EQ(moves(), 1);
    world.pass(30s);
    EXPECT_EQ(moves(), 1) << "the load is as it was, but the minute is not over";
    EXPECT_EQ(world.server("ds2").open.size(), 1);
    world.pass(40s);
    EXPECT_EQ(moves(), 2);
    const Stream& moved = world.stream(world.server("ds2").open.begin()->second.desired.name);
    EXPECT_THAT(moved.decision.reason, HasSubstr("rebalance: "));
    EXPECT_EQ(world.count_events(EventKind::stop_sent), 0);
}

TEST_F(RebalanceOn, MovesNothingWhileLoadsAreEven) {
    load(6, 0.5, 0.45);
    world.pass(180s);
    EXPECT_EQ(moves(), 0);
}

}  // namespace
}  // namespace penstock::presence
