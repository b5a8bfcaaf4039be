#include "penstock_bench/sweep.h"

#include "penstock_bench/fixed_text.h"
#include "penstock_bench/temporary_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::bench {
namespace {

using testing::HasSubstr;

struct Plan {
    struct {
        std::uint32_t consumers = 1;
    } rig;
    std::uint32_t payload_bytes = 22;
};

struct Point {
    std::uint64_t copies = 0;
    FixedText<200> drivers;
    FixedText<200> nics;
};

Plan plan_for(std::uint32_t consumers) {
    Plan plan;
    plan.rig.consumers = consumers;
    return plan;
}

/// No point with 13 consumers can be measured, and one with 8 is not to be trusted.
constexpr SweepSteps<Plan, Point> kSteps{
    .benchmark = "test",
    .headings = "headings",
    .ends_with_ports = true,
    .measure = [](const Plan& plan) -> Result<Point> {
        if (plan.rig.consumers == 13) {
            return Error{ErrorCode::unavailable, "13"};
        }
        return Point{
            .copies = 10 * plan.rig.consumers, .drivers = std::string_view("net_null"), .nics = {}};
    },
    .distrust = [](const Plan& plan, const Point& /*point*/) -> std::string {
        return plan.rig.consumers == 8 ? "eight" : "";
    },
    .row = [](const Plan& /*plan*/, const Point& point) -> Fields {
        return {{"copies", point.copies}};
    },
    .text =
        [](const Plan& /*plan*/, const Point& /*point*/, const std::string& why) { return why; }};

/// Runs a sweep whose report goes to a file.
class SweepTest : public testing::Test {
  protected:
    Result<void> run(const std::vector<Plan>& plans) {
        const std::string path = directory_.value().path() / "report.json";
        const std::array<const char*, 3> words{"sweep", "--json", path.c_str()};
        Options options("sweep", "a sweep");
        Output output;
        output.add_to(options);
        EXPECT_TRUE(options.parse(words.size(), words.data()).ok());
        EXPECT_TRUE(output.open().ok());
        auto outcome = run_sweep(kSteps, plans, {0}, output);
        std::ifstream file(path);
        report_.assign(std::istreambuf_iterator<char>(file), {});
        return outcome;
    }

    Result<TemporaryDirectory> directory_ = TemporaryDirectory::create();
    std::string report_;
};

TEST_F(SweepTest, ReportsARowOfEachPointAndWhetherItIsTrusted) {
    ASSERT_TRUE(run({plan_for(1), plan_for(8)}).ok());
    EXPECT_THAT(report_, HasSubstr(R"({"benchmark":"test")"));
    EXPECT_THAT(report_,
                HasSubstr(R"("rows":[{"copies":10,"trusted":true,"why":""},)"
                          R"({"copies":80,"trusted":false,"why":"eight"}])"));
}

TEST_F(SweepTest, ReportsWhichPortsWereMeasured) {
    ASSERT_TRUE(run({plan_for(1)}).ok());
    EXPECT_THAT(report_, HasSubstr(R"("drivers":"net_null","nics":"none: virtual ports")"));
}

TEST_F(SweepTest, EndsAtThePointThatCannotBeMeasured) {
    const auto outcome = run({plan_for(1), plan_for(13), plan_for(8)});
    ASSERT_FALSE(outcome.ok());
    EXPECT_EQ(outcome.error().message, "13");
    EXPECT_EQ(report_, "");
}

TEST(EndOfSweep, NamesPortsThatWereTheUsersChoice) {
    Environment environment;
    environment.drivers = "net_pcap, net_null";
    environment.nics = "none: virtual ports";
    environment.steal_share = 0.0125;
    EXPECT_EQ(end_of_sweep(environment, true),
              "ports     net_pcap, net_null; NICs none: virtual ports\n"
              "steal     1.25 % of all CPU time");
    EXPECT_EQ(end_of_sweep(environment, false), "steal     1.25 % of all CPU time");
}

}  // namespace
}  // namespace penstock::bench
