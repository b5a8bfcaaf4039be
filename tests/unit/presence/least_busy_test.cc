#include "presence/least_busy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace penstock::presence {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

ServerLoad server(const std::string& name,
                  double utilisation,
                  std::optional<std::chrono::nanoseconds> handed_out_ago = std::nullopt) {
    ServerLoad load;
    load.name = name;
    load.utilisation = utilisation;
    load.report_age = 50ms;
    load.handed_out_ago = handed_out_ago;
    return load;
}

std::string chosen(const std::vector<ServerLoad>& servers) {
    return least_busy(servers, PlacementRules{}).chosen;
}

TEST(LeastBusy, TakesTheLowestProjectedUtilisation) {
    EXPECT_EQ(chosen({server("ds1", 0.3), server("ds2", 0.1), server("ds3", 0.2)}), "ds2");
}

TEST(LeastBusy, TiesGoToTheFirstByName) {
    EXPECT_EQ(chosen({server("ds3", 0.1), server("ds1", 0.1), server("ds2", 0.1)}), "ds1");
}

TEST(LeastBusy, CountsWhatWasHandedOutSinceTheReport) {
    ServerLoad reserved = server("ds1", 0.10);
    reserved.reserved = 0.15;
    EXPECT_EQ(chosen({reserved, server("ds2", 0.2)}), "ds2");
}

TEST(LeastBusy, SkipsServersHandedOutWithinTheRecentPeriod) {
    EXPECT_EQ(chosen({server("ds1", 0.1, 1s), server("ds2", 0.2, 9'999ms), server("ds3", 0.3)}),
              "ds3");
    EXPECT_EQ(chosen({server("ds1", 0.1, 10s), server("ds2", 0.2)}), "ds1") << "its period is over";
}

TEST(LeastBusy, TakesTheLowestIfAllEligibleOnesAreRecent) {
    ServerLoad unfit = server("ds3", 0.0);
    unfit.unfit = "it is not attached";
    EXPECT_EQ(chosen({server("ds1", 0.2, 1s), server("ds2", 0.1, 2s), unfit}), "ds2");
}

TEST(LeastBusy, RefusesAReportThatIsExactlyTooOld) {
    ServerLoad old = server("ds1", 0.1);
    old.report_age = 300ms;
    EXPECT_EQ(chosen({old}), "");
    old.report_age = 300ms - 1ns;
    EXPECT_EQ(chosen({old}), "ds1");
}

TEST(LeastBusy, RefusesAUtilisationAtTheLimit) {
    EXPECT_EQ(chosen({server("ds1", 0.9)}), "");
    EXPECT_EQ(chosen({server("ds1", 0.899)}), "ds1");
    EXPECT_EQ(chosen({server("ds1", 0.9), server("ds2", 0.5, 1s)}), "ds2");
}

TEST(LeastBusy, SaysThatNobodyIsThere) {
    const Decision decision = least_busy({}, PlacementRules{});
    EXPECT_EQ(decision.chosen, "");
    EXPECT_EQ(decision.reason, "no data server is attached");
    EXPECT_TRUE(decision.candidates.empty());
}

TEST(LeastBusy, SaysOfEveryServerWhyItCannotBe) {
    ServerLoad unfit = server("ds1", 0.0);
    unfit.unfit = "it is not attached";
    const std::vector<ServerLoad> servers{unfit, server("ds2", 0.95)};
    EXPECT_EQ(least_busy(servers, PlacementRules{}).reason,
              "no data server can take it: ds1 because it is not attached; ds2 because its "
              "projected utilisation 0.950 is not under the limit 0.900");
}

TEST(LeastBusy, RecordsTheWholeDecisionLowestFirst) {
    const std::vector<ServerLoad> servers{
        server("ds1", 0.3), server("ds2", 0.1, 2s), server("ds3", 0.2)};
    const Decision decision = least_busy(servers, PlacementRules{});
    ASSERT_EQ(decision.candidates.size(), 3);
    EXPECT_EQ(decision.candidates[0].server, "ds2");
    EXPECT_TRUE(decision.candidates[0].recent);
    EXPECT_EQ(decision.candidates[0].handed_out_ms_ago, 2000);
    EXPECT_FALSE(decision.candidates[0].chosen);
    EXPECT_EQ(decision.candidates[1].server, "ds3");
    EXPECT_TRUE(decision.candidates[1].chosen);
    EXPECT_EQ(decision.candidates[2].server, "ds1");
    EXPECT_THAT(decision.reason, HasSubstr("ds3 has the lowest projected utilisation, 0.200"));
    EXPECT_THAT(decision.reason, HasSubstr("recent period of 10s: ds2 (0.100, 2000 ms ago)"));
}

TEST(LeastBusy, TakesAServerWhoseRecentPeriodEndedEarlyAndSaysSo) {
    std::vector<ServerLoad> servers{server("ds1", 0.1, 2s), server("ds2", 0.2, 1s)};
    servers[0].is_recent_over = true;
    Decision decision = least_busy(servers, PlacementRules{});
    EXPECT_EQ(decision.chosen, "ds1");
    EXPECT_FALSE(decision.candidates[0].recent);
    EXPECT_TRUE(decision.candidates[0].recent_over);
    EXPECT_EQ(decision.candidates[0].handed_out_ms_ago, 2000);
    EXPECT_EQ(decision.reason,
              "ds1 has the lowest projected utilisation, 0.100, of the 2 eligible data servers; it "
              "was handed out 2000 ms ago, but half of the data servers were since");
    servers[0].handed_out_ago = 11s;
    decision = least_busy(servers, PlacementRules{});
    EXPECT_FALSE(decision.candidates[0].recent_over) << "the period is over anyway";
}

}  // namespace
}  // namespace penstock::presence
