#include "penstock_bench/trust.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::bench {
namespace {

using testing::HasSubstr;

TrustFacts good_facts() {
    return {.disturbance = "",
            .copies = 1'000,
            .tx_queue_full = 0,
            .idle_share = kIdleShareMax,
            .governor = "performance"};
}

TEST(Trust, BelievesAnUndisturbedBusyRelay) { EXPECT_EQ(distrust(good_facts()), ""); }

TEST(Trust, BelievesAMachineThatHidesItsGovernor) {
    TrustFacts facts = good_facts();
    facts.governor = "not readable";
    EXPECT_EQ(distrust(facts), "");
}

TEST(Trust, NamesTheSinkThatRefusedCopies) {
    TrustFacts facts = good_facts();
    facts.tx_queue_full = 250;
    EXPECT_EQ(distrust(facts), "the sink is the bottleneck: it refused 25 % of the copies");
}

TEST(Trust, NamesTheSourceThatLeftTheWorkersIdle) {
    TrustFacts facts = good_facts();
    facts.idle_share = 0.06;
    EXPECT_EQ(distrust(facts),
              "the source is the bottleneck: the workers were idle 6 % of the time");
}

TEST(Trust, NamesAnotherGovernor) {
    TrustFacts facts = good_facts();
    facts.governor = "powersave";
    EXPECT_THAT(distrust(facts), HasSubstr("governor powersave"));
}

TEST(Trust, SaysEveryReasonAtOnce) {
    TrustFacts facts = good_facts();
    facts.disturbance = "Linux took the CPU away 2 time(s)";
    facts.idle_share = 1;
    EXPECT_EQ(distrust(facts),
              "disturbed, also when repeated: Linux took the CPU away 2 time(s); the "
              "source is the bottleneck: the workers were idle 100 % of the time");
}

OpenLoopFacts good_open_loop() {
    return {.disturbance = "",
            .governor = "performance",
            .lost_copies = 0,
            .late_share = 0.1,
            .idle_share = 0.75,
            .load = 0.5};
}

TEST(TrustOfAnOpenLoop, BelievesARelayThatIsIdleForTheRestOfTheLoad) {
    EXPECT_EQ(distrust(good_open_loop()), "");
}

TEST(TrustOfAnOpenLoop, DoubtsWhatEveryFigureIsDoubtedFor) {
    OpenLoopFacts facts = good_open_loop();
    facts.disturbance = "Linux took the CPU away 2 time(s)";
    facts.governor = "powersave";
    EXPECT_EQ(distrust(facts),
              "disturbed, also when repeated: Linux took the CPU away 2 time(s); the workers' CPUs "
              "run under governor powersave, not performance");
}

TEST(TrustOfAnOpenLoop, NamesLostCopiesWhoseLatencyIsUnknown) {
    OpenLoopFacts facts = good_open_loop();
    facts.lost_copies = 3;
    EXPECT_EQ(distrust(facts),
              "3 copies were lost, whose latency nobody knows: lower --load or --rate");
}

TEST(TrustOfAnOpenLoop, NamesTheGeneratorWhoseHighestRateLeftTheWorkersIdle) {
    OpenLoopFacts facts = good_open_loop();
    facts.idle_share = 0.76;
    EXPECT_EQ(distrust(facts),
              "the generator is the bottleneck: at 50 % of the highest rate that it reached the "
              "worker was idle 76 % of the time");
    facts.load.reset();  // any rate may have been named
    EXPECT_EQ(distrust(facts), "");
}

TEST(TrustOfAnOpenLoop, NamesTheGeneratorThatSentLate) {
    OpenLoopFacts facts = good_open_loop();
    facts.late_share = 0.11;
    EXPECT_EQ(distrust(facts),
              "the generator sent 11 % of the packets late: lower --load or --rate");
}

}  // namespace
}  // namespace penstock::bench
