#include "rpc/presence_turns.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace penstock::control {
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
        turns.on_refusal(leader, now);
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

TEST_F(PresenceTurnsTest, FollowALeaderThatHandsOver) {
    be_sent("a", "c");
    EXPECT_EQ(next(), "c");
    turns.on_welcome();
    turns.on_refusal("b", now);
    EXPECT_TRUE(turns.is_at_once());
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
    now += 2999ms;
    EXPECT_EQ(next(), "b");
    now += 1ms;
    be_sent("c", "a");
    EXPECT_TRUE(turns.is_at_once()) << "by now it would have lost its lease";
    EXPECT_EQ(next(), "a");
}

TEST_F(PresenceTurnsTest, TakeOneInAgainThatHasAnswered) {
    pass_in_silence("a");
    pass_in_silence("b");
    pass_in_silence("c");
    be_sent("a", "");
    EXPECT_EQ(next(), "a") << "the only one that speaks";
    turns.on_welcome();
    EXPECT_EQ(next(), "b") << "what was before the session counts no more";
    EXPECT_EQ(next(), "c");
}

TEST_F(PresenceTurnsTest, GoRoundIfAllAreSilent) {
    for (const std::string wanted : {"a", "b", "c", "a", "b", "c", "a"}) {
        pass_in_silence(wanted);
    }
}

TEST_F(PresenceTurnsTest, CountAnAddressThatIsThereTwiceOnce) {
    PresenceTurns twice({"a", "b", "a"});
    for (const std::string wanted : {"a", "b", "a", "b"}) {
        EXPECT_EQ(twice.next(now), wanted);
    }
    EXPECT_EQ(PresenceTurns({"a", "a"}).connection_within(), 2000ms) << "there is no other";
}

TEST_F(PresenceTurnsTest, ArePatientWithOneThatMayBeSlow) {
    for (const auto wanted : {500ms, 1000ms, 2000ms, 2000ms}) {
        EXPECT_EQ(next(), "a");
        EXPECT_EQ(turns.connection_within(), wanted);
        turns.on_silence(now);
        EXPECT_EQ(next(), "b");
        EXPECT_EQ(turns.connection_within(), 500ms) << "another one";
        turns.on_refusal("", now);
        EXPECT_EQ(next(), "c");
        turns.on_refusal("", now);
        now += 3s;
    }
    EXPECT_EQ(next(), "a");
    turns.on_welcome();
    EXPECT_EQ(turns.connection_within(), 500ms);
}

TEST_F(PresenceTurnsTest, AreMostPatientWithTheOnlyOne) {
    PresenceTurns alone({"a"});
    for (int times = 0; times < 100; ++times) {
        EXPECT_EQ(alone.next(now), "a");
        EXPECT_EQ(alone.connection_within(), 2000ms);
        alone.on_silence(now);
    }
}

}  // namespace
}  // namespace penstock::control
