#include "penstock_bench/disturbance.h"

#include <gtest/gtest.h>

namespace penstock::bench {
namespace {

using std::chrono::seconds;

constexpr std::uint64_t kTicksPerSecond = 100;

constexpr const char* kStat =
    "cpu  100 0 100 700 0 0 0 100 0 0\n"
    "cpu0 50 0 50 350 0 0 0 20 0 0\n"
    "cpu1 50 0 50 350 0 0 0 80 0 0\n"
    "cpu10 1 1 1 1 1 1 1 7 0 0\n"
    "intr 5\n";

TEST(Disturbance, LetsAQuietTrialCount) {
    EXPECT_EQ(disturbance_of({}, seconds{1}, 1, kTicksPerSecond), "");
}

TEST(Disturbance, RefusesATrialWithMoreThanHalfAPerCentOfSteal) {
    const Interference two_ticks{.steal_ticks = 2, .involuntary_switches = 0};
    EXPECT_EQ(disturbance_of(two_ticks, seconds{1}, 1, kTicksPerSecond),
              "the hypervisor took 2.0 % of the CPU time");
    EXPECT_EQ(disturbance_of(two_ticks, seconds{4}, 1, kTicksPerSecond), "");
    EXPECT_EQ(disturbance_of(two_ticks, seconds{2}, 2, kTicksPerSecond), "");
}

TEST(Disturbance, RefusesATrialWithOneInvoluntarySwitch) {
    EXPECT_EQ(disturbance_of(
                  {.steal_ticks = 0, .involuntary_switches = 1}, seconds{60}, 1, kTicksPerSecond),
              "Linux took the CPU away 1 time(s)");
}

TEST(Disturbance, CountsStealAsWorseThanSwitches) {
    const Interference quiet{.steal_ticks = 0, .involuntary_switches = 9};
    const Interference stolen{.steal_ticks = 1, .involuntary_switches = 0};
    EXPECT_TRUE(is_less(quiet, stolen));
    EXPECT_FALSE(is_less(stolen, quiet));
    EXPECT_TRUE(is_less({}, quiet));
    EXPECT_FALSE(is_less(quiet, quiet));
}

TEST(Disturbance, ReadsTheStealOfOneCpu) {
    EXPECT_EQ(steal_ticks_of(kStat, 0), 20);
    EXPECT_EQ(steal_ticks_of(kStat, 1), 80);
    EXPECT_EQ(steal_ticks_of(kStat, 10), 7);
    EXPECT_EQ(steal_ticks_of(kStat, 2), std::nullopt);
    EXPECT_EQ(steal_ticks_of("cpu0 1 2 3\n", 0), std::nullopt);
}

TEST(Disturbance, ReadsInvoluntarySwitchesOfAThread) {
    EXPECT_EQ(involuntary_switches_of("Name:\tx\nvoluntary_ctxt_switches:\t150\n"
                                      "nonvoluntary_ctxt_switches:\t545\n"),
              545);
    EXPECT_EQ(involuntary_switches_of("Name:\tx\n"), std::nullopt);
}

TEST(Disturbance, SharesStealOutOverAllTime) {
    EXPECT_DOUBLE_EQ(steal_share("cpu  0 0 0 0 0 0 0 0 0 0\n", kStat), 0.1);
    EXPECT_DOUBLE_EQ(steal_share(kStat, kStat), 0);
    EXPECT_DOUBLE_EQ(steal_share("", kStat), 0);
}

TEST(Disturbance, CannotWatchAWorkerThatDoesNotRun) {
    const auto watch = InterferenceWatch::start({0});
    ASSERT_FALSE(watch.ok());
    EXPECT_NE(watch.error().message.find("lcore 1"), std::string::npos);
}

}  // namespace
}  // namespace penstock::bench
