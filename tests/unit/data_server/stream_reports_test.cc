#include "data_server/stream_reports.h"

#include <gtest/gtest.h>

#include <vector>

namespace penstock {
namespace {

const StreamId kStream{7};

class StreamReportsTest : public testing::Test {
  protected:
    bool due(std::uint64_t now_ms) {
        return !reports.take_due(now_ms, [this](StreamId) { return consumers; }).empty();
    }
    StreamReports reports;
    std::size_t consumers = 1;
};

TEST_F(StreamReportsTest, ChangesThatComeTogetherShareOneReport) {
    reports.changed(kStream, 1'000);
    reports.changed(kStream, 1'005);
    EXPECT_FALSE(due(1'009));
    EXPECT_TRUE(due(1'010));
    EXPECT_FALSE(due(1'020));
}

TEST_F(StreamReportsTest, EachChangeIsReportedWithin20Ms) {
    for (std::uint64_t now = 1'000; now < 2'000; now += 50) {
        reports.changed(kStream, now);
        EXPECT_TRUE(due(now + 20)) << now;
    }
}

TEST_F(StreamReportsTest, CountersAreRefreshedWithoutAChange) {
    reports.changed(kStream, 1'000);
    EXPECT_TRUE(due(1'010));
    EXPECT_FALSE(due(2'009));
    EXPECT_TRUE(due(2'010));
}

TEST_F(StreamReportsTest, LargeStreamsAreReportedLessOften) {
    consumers = 100'000;
    reports.changed(kStream, 1'000);
    EXPECT_TRUE(due(1'010));
    reports.changed(kStream, 1'011);
    EXPECT_FALSE(due(2'009));
    EXPECT_TRUE(due(2'010));
}

TEST_F(StreamReportsTest, ForgottenStreamsAreNotReported) {
    reports.changed(kStream, 1'000);
    reports.forget(kStream);
    EXPECT_FALSE(due(9'000));
}

}  // namespace
}  // namespace penstock
