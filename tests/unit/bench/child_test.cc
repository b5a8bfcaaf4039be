#include "penstock_bench/child.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <unistd.h>

namespace penstock::bench {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

constexpr milliseconds kPatience{60'000};

struct Outcome {
    int number;
    double share;
};

TEST(Child, HandsItsResultBack) {
    const auto result = in_child<Outcome>(kPatience, [] { return Outcome{7, 1.5}; });
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->number, 7);
    EXPECT_DOUBLE_EQ(result->share, 1.5);
}

TEST(Child, IsAnotherProcess) {
    EXPECT_NE(in_child<pid_t>(kPatience, [] { return ::getpid(); }).value(), ::getpid());
}

TEST(Child, HandsItsErrorBack) {
    const auto result = in_child<int>(kPatience, []() -> Result<int> {
        return Error{ErrorCode::exhausted, "no memory"};
    });
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, ErrorCode::exhausted);
    EXPECT_EQ(result.error().message, "no memory");
}

TEST(Child, SaysWhichSignalEndedIt) {
    const auto result = in_child<int>(kPatience, []() -> Result<int> {
        ::raise(SIGKILL);
        return 0;
    });
    ASSERT_FALSE(result.ok());
    EXPECT_THAT(result.error().message, HasSubstr("signal 9"));
}

TEST(Child, IsNotWaitedForForEver) {
    const auto result = in_child<int>(milliseconds{1}, []() -> Result<int> {
        ::pause();
        return 0;
    });
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, ErrorCode::timed_out);
}

TEST(FixedText, CutsWhatDoesNotFit) {
    EXPECT_EQ(FixedText<4>("abc").text(), "abc");
    EXPECT_EQ(FixedText<4>("abcd").text(), "abc");
    EXPECT_TRUE(FixedText<4>("").empty());
}

}  // namespace
}  // namespace penstock::bench
