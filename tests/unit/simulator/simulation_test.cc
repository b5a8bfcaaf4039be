#include "simulator/simulation.h"

#include "wire/ticket.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace penstock::simulator {
namespace {

constexpr std::uint64_t kSeeds = 2'000;

class SimulationTest : public testing::Test {
  protected:
    void SetUp() override { ASSERT_TRUE(initialise_cryptography()); }

    /// The first broken invariant in so many seeds; "" if there is none.
    static std::string found_in(std::uint64_t seeds, const Flaws& flaws) {
        Plan plan;
        plan.flaws = flaws;
        for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
            if (const Outcome outcome = simulate(seed, plan); outcome.violation) {
                return outcome.violation->invariant;
            }
        }
        return "";
    }
};

TEST_F(SimulationTest, InvariantsHoldWhateverGoesWrong) {
    std::uint64_t within_3_s = 0;
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
        const Outcome outcome = simulate(seed, {});
        ASSERT_FALSE(outcome.violation.has_value())
            << outcome.violation->invariant << ": " << outcome.violation->text
            << "\nagain: penstock-simulate --seed " << seed << " --trace";
        within_3_s += outcome.recovered_after <= seconds(3) ? 1 : 0;
    }
    EXPECT_GE(within_3_s, kSeeds * 95 / 100) << "seldom does one timeout follow another";
}

TEST_F(SimulationTest, NotOnePacketIsLostByWhatHappensToPresence) {
    Plan plan;
    plan.only_presence_fails = true;
    for (std::uint64_t seed = 1; seed <= kSeeds / 4; ++seed) {
        const Outcome outcome = simulate(seed, plan);
        ASSERT_FALSE(outcome.violation.has_value())
            << outcome.violation->invariant << ": " << outcome.violation->text << "\nseed " << seed;
    }
}

TEST_F(SimulationTest, ManyPeersAreServedLikeFew) {
    Plan plan;
    plan.size = {.servers_max = 20, .streams_max = 12, .consumers_max = 60};
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        const Outcome outcome = simulate(seed, plan);
        ASSERT_FALSE(outcome.violation.has_value()) << outcome.violation->text << "\nseed " << seed;
    }
}

TEST_F(SimulationTest, ASeedIsOneRun) {
    Plan plan;
    plan.trace_lines = 100'000;
    const Outcome one = simulate(7, plan);
    const Outcome other = simulate(7, plan);
    EXPECT_GT(one.trace.size(), 20);
    EXPECT_EQ(one.trace, other.trace);
    EXPECT_NE(one.trace, simulate(8, plan).trace);
}

TEST_F(SimulationTest, FindsAPresenceThatDeletesWhileItRecovers) {
    EXPECT_EQ(found_in(100, {.presence = {.forgets_reports = true}, .data_server = {}}), "I7");
}

TEST_F(SimulationTest, FindsADataServerThatObeysAnyEpoch) {
    EXPECT_EQ(found_in(500, {.presence = {}, .data_server = {.obeys_any_epoch = true}}), "I1");
}

TEST_F(SimulationTest, FindsDesiredStatesThatAreSaidOnce) {
    EXPECT_EQ(found_in(1'000, {.presence = {.says_once = true}, .data_server = {}}), "I2");
}

}  // namespace
}  // namespace penstock::simulator
