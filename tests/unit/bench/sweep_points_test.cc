#include "penstock_bench/sweep_points.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace penstock::bench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

SweepWords words() {
    return {.consumers = "1,8", .payloads = "22,1316", .workers = "1", .histories = "on"};
}

std::vector<std::string> lines_of(const Result<std::vector<SweepPoint>>& points) {
    std::vector<std::string> lines;
    for (const SweepPoint& point : points.value()) {
        lines.push_back(fmt::format("{} x {} B, {} workers, history {}",
                                    point.consumers,
                                    point.payload_bytes,
                                    point.workers,
                                    point.history));
    }
    return lines;
}

TEST(SweepPoints, GoThroughConsumersThenPayloads) {
    EXPECT_THAT(lines_of(parse_points(words(), {})),
                ElementsAre("1 x 22 B, 1 workers, history true",
                            "8 x 22 B, 1 workers, history true",
                            "1 x 1316 B, 1 workers, history true",
                            "8 x 1316 B, 1 workers, history true"));
}

TEST(SweepPoints, GoThroughWorkersThenHistories) {
    SweepWords all = words();
    all.consumers = "8";
    all.payloads = "22";
    all.workers = "1,2";
    all.histories = "off,on";
    EXPECT_THAT(lines_of(parse_points(all, {})),
                ElementsAre("8 x 22 B, 1 workers, history false",
                            "8 x 22 B, 2 workers, history false",
                            "8 x 22 B, 1 workers, history true",
                            "8 x 22 B, 2 workers, history true"));
}

TEST(SweepPoints, TellTheMostWorkersOfAny) {
    SweepWords all = words();
    all.workers = "4,1";
    EXPECT_EQ(most_workers(parse_points(all, {}).value()), 4U);
}

TEST(SweepPoints, AreNoneBelowWhatTheCommandCanTake) {
    const auto few = parse_points(words(), {.consumers_min = 2, .payload_bytes_min = 1});
    ASSERT_FALSE(few.ok());
    EXPECT_THAT(few.error().message, HasSubstr("--consumers"));
    const auto small = parse_points(words(), {.consumers_min = 1, .payload_bytes_min = 23});
    ASSERT_FALSE(small.ok());
    EXPECT_THAT(small.error().message, HasSubstr("--payload"));
}

TEST(SweepPoints, NameTheListThatIsWrong) {
    SweepWords wrong = words();
    wrong.workers = "0";
    EXPECT_THAT(parse_points(wrong, {}).error().message, HasSubstr("--workers"));
    wrong = words();
    wrong.histories = "maybe";
    EXPECT_THAT(parse_points(wrong, {}).error().message, HasSubstr("--history"));
}

}  // namespace
}  // namespace penstock::bench
