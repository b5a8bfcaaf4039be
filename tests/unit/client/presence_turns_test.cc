#include "client/presence_turns.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace penstock {
namespace {

using namespace std::chrono_literals;

class PresenceTurnsTest : public testing::Test {
  protected:
    std::string next() { return turns.next(now); }
    /// Calls the next one, who says nothing.
    void pass_in_silence(const std::string& wanted) {
        EXPECT_EQ(next(), wanted);
        turns.on_silence(now);
    }
    /// Calls the next one, who names a leader.
    void be_sent(const std::string& by, const std::string& leader) {
        EXPECT_EQ(next(), by);
        turns.on_answer();
        turns.on_leader(leader, now);
    }

    PresenceTurns turns{{"a", "b", "c"}};
    MonotonicTime now{100s};
};

TEST_F(PresenceTurnsTest, GoRound) {
    for (const std::string wanted : {"a", "b", "c", "a", "b"}) {
        EXPECT_EQ(next(), wanted);
        EXPECT_FALSE(turns.was_named());
        EXPECT_FALSE(turns.is_at_once());
    }
}

TEST_F(PresenceTurnsTest, GoToTheLeaderAtOnceAndThenRound) {
    be_sent("a", "c");
    EXPECT_TRUE(turns.is_at_once());
    EXPECT_EQ(next(), "c");
    EXPECT_TRUE(turns.was_named());
    EXPECT_FALSE(turns.is_at_once());
    EXPECT_EQ(next(), "b") << "whose turn it was";
    EXPECT_FALSE(turns.was_named());
}

TEST_F(PresenceTurnsTest, DoNotGoToAndFroBetweenTwoThatNameEachOther) {
    be_sent("a", "c");
    be_sent("c", "a");
    EXPECT_FALSE(turns.is_at_once());
    EXPECT_EQ(next(), "b");
}

TEST_F(PresenceTurnsTest, GoNowhereThatIsNotOurs) {
    be_sent("a", "elsewhere");
    EXPECT_FALSE(turns.is_at_once());
    be_sent("b", "");
    EXPECT_FALSE(turns.is_at_once());
    be_sent("c", "c");
    EXPECT_FALSE(turns.is_at_once()) << "it has just refused";
    EXPECT_EQ(next(), "a");
}

TEST_F(PresenceTurnsTest, LeaveOneThatIsSilentOutEvenIfItIsSaidToLead) {
    pass_in_silence("a");
    be_sent("b", "a");
    EXPECT_FALSE(turns.is_at_once());
    be_sent("c", "a");
    EXPECT_FALSE(turns.is_at_once());
    EXPECT_EQ(next(), "b");
    now += 2s;
    be_sent("c", "a");
    EXPECT_TRUE(turns.is_at_once());
    pass_in_silence("a");
    now += 3999ms;
    EXPECT_EQ(next(), "b") << "it is left out for longer";
    EXPECT_EQ(next(), "c");
    EXPECT_EQ(next(), "b");
    now += 1ms;
    EXPECT_EQ(next(), "c");
    EXPECT_EQ(next(), "a");
    turns.on_answer();
    EXPECT_EQ(next(), "b");
    EXPECT_EQ(next(), "c");
    EXPECT_EQ(next(), "a") << "it has answered";
}

TEST_F(PresenceTurnsTest, GoRoundIfAllAreSilent) {
    for (const std::string wanted : {"a", "b", "c", "a", "b", "c", "a"}) {
        pass_in_silence(wanted);
    }
    PresenceTurns alone({"a"});
    EXPECT_EQ(alone.next(now), "a");
    alone.on_silence(now);
    EXPECT_EQ(alone.next(now), "a");
}

TEST_F(PresenceTurnsTest, ArePatientWithOneThatMayBeSlow) {
    PresenceTurns alone({"a"});
    for (const auto wanted : {500ms, 500ms, 1000ms, 2000ms, 2000ms}) {
        EXPECT_EQ(alone.next(now), "a");
        EXPECT_EQ(alone.connection_within(), wanted);
        alone.on_silence(now);
    }
    for (int times = 0; times < 100; ++times) {
        alone.on_silence(now);
    }
    EXPECT_EQ(alone.connection_within(), 2000ms);
    alone.on_answer();
    EXPECT_EQ(alone.connection_within(), 500ms);
}

}  // namespace
}  // namespace penstock
