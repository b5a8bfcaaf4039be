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

}  // namespace
}  // namespace penstock::bench
