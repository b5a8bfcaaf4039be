#include "data_server/presence_session.h"

#include <gtest/gtest.h>

namespace penstock {
namespace {

using namespace std::chrono_literals;

TEST(PresenceSessionTest, PausesGrowOnlyWhileNobodyAnswers) {
    EXPECT_EQ(next_backoff(100ms, false, false), 200ms);
    EXPECT_EQ(next_backoff(1600ms, false, false), 2000ms);
    EXPECT_EQ(next_backoff(2000ms, true, false), 100ms);
    EXPECT_EQ(next_backoff(2000ms, false, true), 100ms);
}

}  // namespace
}  // namespace penstock
