#include "penstock_bench/least_disturbed.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace penstock::bench {
namespace {

struct Trial {
    int number = 0;
    Interference interference;
    std::string disturbance;
};

Trial undisturbed(int number) { return {.number = number, .interference = {}, .disturbance = ""}; }

Trial disturbed(int number, std::uint64_t switches) {
    return {.number = number,
            .interference = {.steal_ticks = 0, .involuntary_switches = switches},
            .disturbance = fmt::format("{} switches", switches)};
}

std::vector<int> numbers_of(const LeastDisturbed<Trial>& trials) {
    std::vector<int> numbers;
    for (const Trial& trial : trials.trials()) {
        numbers.push_back(trial.number);
    }
    return numbers;
}

TEST(LeastDisturbed, IsDoneWithAsManyUndisturbedTrialsAsWanted) {
    LeastDisturbed<Trial> trials(2);
    trials.add(undisturbed(1));
    EXPECT_TRUE(trials.wants_more());
    trials.add(undisturbed(2));
    EXPECT_FALSE(trials.wants_more());
    EXPECT_EQ(numbers_of(trials), (std::vector<int>{1, 2}));
    EXPECT_EQ(trials.count(), 2U);
    EXPECT_EQ(trials.repeated(), 0U);
    EXPECT_EQ(trials.disturbance(), "");
}

TEST(LeastDisturbed, RepeatsWhatWasDisturbed) {
    LeastDisturbed<Trial> trials(2);
    trials.add(disturbed(1, 5));
    trials.add(undisturbed(2));
    EXPECT_TRUE(trials.wants_more());
    trials.add(undisturbed(3));
    EXPECT_FALSE(trials.wants_more());
    EXPECT_EQ(numbers_of(trials), (std::vector<int>{2, 3}));
    EXPECT_EQ(trials.repeated(), 1U);
    EXPECT_EQ(trials.disturbance(), "");
}

TEST(LeastDisturbed, CountsTheLeastDisturbedOnesAfterTheLastAttempt) {
    LeastDisturbed<Trial> trials(2);
    int attempts = 0;
    while (trials.wants_more()) {
        ++attempts;
        trials.add(disturbed(attempts, attempts == 4 ? 3 : 7));
    }
    EXPECT_EQ(attempts, 2 * (1 + static_cast<int>(kRepeatsPerTrial)));
    EXPECT_EQ(numbers_of(trials), (std::vector<int>{4, 1}));  // of equals, the first
    EXPECT_EQ(trials.repeated(), 8U);
    EXPECT_EQ(trials.disturbance(), "7 switches");
}

}  // namespace
}  // namespace penstock::bench
