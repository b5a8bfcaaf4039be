#include "data_server/reconcile.h"

#include <gtest/gtest.h>

#include <vector>

namespace penstock {
namespace {

const StreamId kA{1};
const StreamId kB{2};

DesiredStream desired(StreamId stream) { return {stream, "name", PeerId{9}, 0}; }

StreamSet full(std::uint64_t epoch,
               std::uint64_t generation,
               const std::vector<StreamId>& streams) {
    StreamSet set;
    set.epoch = epoch;
    set.generation = generation;
    for (const StreamId stream : streams) {
        set.open.push_back(desired(stream));
    }
    return set;
}

StreamSet change(std::uint64_t epoch,
                 std::uint64_t generation,
                 const std::vector<StreamId>& open,
                 std::vector<StreamId> close) {
    StreamSet set = full(epoch, generation, open);
    set.base_generation = generation - 1;
    set.close = std::move(close);
    return set;
}

Endpoint endpoint(std::uint16_t port) { return {IpAddress::v4(0x0a5b0001), port}; }

class ReconcileTest : public testing::Test {
  protected:
    Applied answer() {
        const auto answers = reconcile.take_answers();
        EXPECT_EQ(answers.size(), 1U);
        return answers.empty() ? Applied{} : answers[0];
    }
    Reconcile reconcile;
};

TEST_F(ReconcileTest, AnswersWhenAllIsOpen) {
    const auto work = reconcile.take(full(5, 1, {kA, kB}));
    EXPECT_EQ(work.open.size(), 2U);
    reconcile.opened(kA, endpoint(20'000));
    EXPECT_TRUE(reconcile.take_answers().empty());
    reconcile.opened(kB, endpoint(20'001));
    const Applied applied = answer();
    EXPECT_EQ(applied.epoch, 5U);
    EXPECT_EQ(applied.generation, 1U);
    EXPECT_EQ(applied.opened.size(), 2U);
    EXPECT_TRUE(reconcile.take_answers().empty());
}

TEST_F(ReconcileTest, SaysWhatWasRefusedAndWhy) {
    reconcile.take(full(5, 1, {kA}));
    reconcile.refused(kA, "no room");
    const Applied applied = answer();
    ASSERT_EQ(applied.refused.size(), 1U);
    EXPECT_EQ(applied.refused[0].reason, "no room");
    EXPECT_FALSE(reconcile.is_desired(kA));
}

TEST_F(ReconcileTest, FullSetClosesWhatItDoesNotName) {
    reconcile.take(full(5, 1, {kA}));
    reconcile.opened(kA, endpoint(20'000));
    reconcile.take_answers();
    const auto work = reconcile.take(full(5, 2, {kB}));
    EXPECT_EQ(work.close, std::vector{kA});
    ASSERT_EQ(work.open.size(), 1U);
    reconcile.opened(kB, endpoint(20'001));
    EXPECT_TRUE(reconcile.take_answers().empty()) << "the other one is not closed yet";
    reconcile.closed(kA);
    EXPECT_EQ(answer().generation, 2U);
}

TEST_F(ReconcileTest, SetOfARecoveringPresenceClosesNothingAndFitsEveryGeneration) {
    reconcile.take(full(5, 7, {kA}));
    reconcile.opened(kA, endpoint(20'000));
    reconcile.take_answers();
    StreamSet added = full(6, 1, {kB});
    added.keep_others = true;
    const auto work = reconcile.take(added);
    EXPECT_TRUE(work.close.empty());
    EXPECT_EQ(work.open.size(), 1U);
    reconcile.opened(kB, endpoint(20'001));
    EXPECT_EQ(answer().generation, 1U);
    EXPECT_TRUE(reconcile.is_desired(kA));
}

TEST_F(ReconcileTest, ChangeTouchesOnlyWhatItNames) {
    reconcile.take(full(5, 1, {kA}));
    reconcile.opened(kA, endpoint(20'000));
    reconcile.take_answers();
    const auto work = reconcile.take(change(5, 2, {kB}, {}));
    EXPECT_TRUE(work.close.empty());
    EXPECT_EQ(work.open.size(), 1U);
    reconcile.opened(kB, endpoint(20'001));
    const Applied applied = answer();
    ASSERT_EQ(applied.opened.size(), 1U);
    EXPECT_EQ(applied.opened[0].stream, kB);
}

TEST_F(ReconcileTest, StreamThatIsOpenIsAnsweredAtOnceAndHandedOnForItsPublisher) {
    reconcile.take(full(5, 1, {kA}));
    reconcile.opened(kA, endpoint(20'000));
    reconcile.take_answers();
    const auto work = reconcile.take(full(5, 1, {kA}));
    EXPECT_EQ(work.open.size(), 1U);
    const Applied applied = answer();
    ASSERT_EQ(applied.opened.size(), 1U);
    EXPECT_EQ(applied.opened[0].endpoint, endpoint(20'000));
}

TEST_F(ReconcileTest, LowerEpochIsAnsweredAndNotApplied) {
    reconcile.take(full(5, 1, {}));
    reconcile.take_answers();
    const auto work = reconcile.take(full(4, 9, {kA}));
    EXPECT_TRUE(work.open.empty());
    const Applied applied = answer();
    EXPECT_EQ(applied.epoch, 5U);
    EXPECT_EQ(applied.generation, 1U);
    EXPECT_FALSE(reconcile.see_epoch(4));
    EXPECT_TRUE(reconcile.see_epoch(5));
}

TEST_F(ReconcileTest, OlderAndRepeatedGenerationsAreAnsweredAndNotApplied) {
    reconcile.take(full(5, 3, {kA}));
    reconcile.opened(kA, endpoint(20'000));
    reconcile.take_answers();
    EXPECT_TRUE(reconcile.take(full(5, 2, {})).close.empty());
    EXPECT_EQ(answer().generation, 3U);
    EXPECT_TRUE(reconcile.take(change(5, 3, {}, {kA})).close.empty());
    EXPECT_EQ(answer().generation, 3U);
}

TEST_F(ReconcileTest, ChangeToAnotherGenerationThanOursIsNotApplied) {
    reconcile.take(full(5, 3, {}));
    reconcile.take_answers();
    EXPECT_TRUE(reconcile.take(change(5, 5, {kA}, {})).open.empty());
    EXPECT_EQ(answer().generation, 3U);
}

TEST_F(ReconcileTest, GenerationsStartAnewWithANewEpoch) {
    reconcile.take(full(5, 3, {kA}));
    reconcile.opened(kA, endpoint(20'000));
    reconcile.take_answers();
    EXPECT_TRUE(reconcile.take(change(6, 4, {kB}, {})).open.empty()) << "a change to what?";
    EXPECT_EQ(answer().epoch, 6U);
    reconcile.take(full(6, 1, {kA}));
    const Applied applied = answer();
    EXPECT_EQ(applied.generation, 1U);
    EXPECT_EQ(applied.opened.size(), 1U);
}

TEST_F(ReconcileTest, AnswersStayInOrder) {
    reconcile.take(full(5, 1, {kA}));
    reconcile.take(change(5, 2, {kB}, {}));
    reconcile.opened(kB, endpoint(20'001));
    EXPECT_TRUE(reconcile.take_answers().empty());
    reconcile.opened(kA, endpoint(20'000));
    const auto answers = reconcile.take_answers();
    ASSERT_EQ(answers.size(), 2U);
    EXPECT_EQ(answers[0].generation, 1U);
    EXPECT_EQ(answers[1].generation, 2U);
}

TEST_F(ReconcileTest, StreamClosedBeforeItOpenedHoldsNobodyUp) {
    reconcile.take(full(5, 1, {kA}));
    const auto work = reconcile.take(change(5, 2, {}, {kA}));
    EXPECT_EQ(work.close, std::vector{kA});
    const Applied first = answer();
    EXPECT_EQ(first.refused.size(), 1U);
    reconcile.closed(kA);
    EXPECT_EQ(answer().generation, 2U);
}

TEST_F(ReconcileTest, ClosedAndOpenedAgainIsTwoDifferentStreams) {
    reconcile.take(full(5, 1, {kA}));
    reconcile.opened(kA, endpoint(20'000));
    reconcile.take_answers();
    reconcile.take(change(5, 2, {}, {kA}));
    reconcile.take(change(5, 3, {kA}, {}));
    reconcile.opened(kA, endpoint(20'001));
    EXPECT_TRUE(reconcile.take_answers().empty()) << "the first one is still closing";
    reconcile.closed(kA);
    const auto answers = reconcile.take_answers();
    ASSERT_EQ(answers.size(), 2U);
    EXPECT_EQ(answers[1].opened.at(0).endpoint, endpoint(20'001));
}

TEST_F(ReconcileTest, WhoeverLeftIsNotAnswered) {
    reconcile.take(full(5, 1, {kA}));
    reconcile.forget_answers();
    reconcile.opened(kA, endpoint(20'000));
    EXPECT_TRUE(reconcile.take_answers().empty());
    reconcile.take(full(5, 1, {kA}));
    EXPECT_EQ(answer().opened.size(), 1U) << "asked anew, answered anew";
}

}  // namespace
}  // namespace penstock
