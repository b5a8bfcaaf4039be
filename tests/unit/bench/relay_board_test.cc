#include "penstock_bench/relay_board.h"

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

namespace penstock::bench {
namespace {

constexpr std::chrono::milliseconds kPatience{60'000};
constexpr MacAddress kMac{{2, 0, 0, 0, 0, 9}};

TEST(RelayBoard, AnswersInOneProcessWhatIsAskedInAnother) {
    const auto board = share_relay_board();
    ASSERT_TRUE(board.ok());
    const pid_t child = ::fork();
    if (child == 0) {
        std::uint64_t asked = 0;
        (*board)->serve(kMac, [&asked] {
            RelayCounts counts;
            counts.received = ++asked;
            counts.drops.back() = 10 * asked;
            return counts;
        });
        ::_exit(7);
    }
    EXPECT_EQ((*board)->wait(kPatience), kMac);
    for (const std::uint64_t asked : {1U, 2U}) {
        const auto counts = (*board)->ask();
        ASSERT_TRUE(counts.has_value());
        EXPECT_EQ(counts->received, asked);
        EXPECT_EQ(counts->drops.back(), 10 * asked);
    }
    (*board)->stop();
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(WEXITSTATUS(status), 7);
}

TEST(RelayBoard, WaitsForTheRelayToLeave) {
    const auto board = share_relay_board();
    ASSERT_TRUE(board.ok());
    EXPECT_FALSE((*board)->stop_and_wait(std::chrono::milliseconds{1}));
    const pid_t child = ::fork();
    if (child == 0) {
        (*board)->serve(kMac, [] { return RelayCounts(); });
        (*board)->leave();
        ::_exit(0);
    }
    EXPECT_TRUE((*board)->stop_and_wait(kPatience));
    ::waitpid(child, nullptr, 0);
}

TEST(RelayBoard, SaysThatTheRelayGaveUp) {
    const auto board = share_relay_board();
    ASSERT_TRUE(board.ok());
    (*board)->give_up();
    EXPECT_FALSE((*board)->wait(kPatience).has_value());
}

TEST(RelayBoard, DoesNotWaitForEver) {
    const auto board = share_relay_board();
    ASSERT_TRUE(board.ok());
    EXPECT_FALSE((*board)->wait(std::chrono::milliseconds{1}).has_value());
}

TEST(RelayBoard, ServesNoMoreOnceStopped) {
    const auto board = share_relay_board();
    ASSERT_TRUE(board.ok());
    (*board)->stop();
    (*board)->serve(kMac, [] { return RelayCounts(); });  // returns
    EXPECT_TRUE((*board)->wait(kPatience).has_value());
}

}  // namespace
}  // namespace penstock::bench
