#include "penstock_bench/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::bench {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

Report two_rows() {
    Report report;
    report.benchmark = "replicate";
    report.environment.machine = "a machine";
    report.environment.drivers = "net_pcap, net_null";
    report.rows.push_back({{"consumers", std::uint64_t{64}},
                           {"rate", Fields{{"median", 1.5}}},
                           {"drops", Fields{}},
                           {"trusted", true},
                           {"why", std::string()}});
    report.rows.push_back({{"consumers", std::uint64_t{1}},
                           {"rate", Fields{{"median", 2.0}}},
                           {"drops", Fields{{"tx_queue_full", std::uint64_t{7}}}},
                           {"trusted", false},
                           {"why", std::string("one, \"\"two")}});
    return report;
}

TEST(Report, IsOneJsonObject) {
    const std::string json = json_of(two_rows());
    EXPECT_THAT(json,
                StartsWith(R"({"benchmark":"replicate","environment":{"machine":"a machine",)"));
    EXPECT_THAT(
        json,
        EndsWith(
            R"("rows":[{"consumers":64,"rate":{"median":1.5},"drops":{},"trusted":true,"why":""},)"
            R"({"consumers":1,"rate":{"median":2},"drops":{"tx_queue_full":7},"trusted":false,)"
            R"("why":"one, \"\"two"}]})"
            "\n"));
}

TEST(Report, HasACsvColumnForEveryKeyOfAnyRow) {
    const std::string csv = csv_of(two_rows());
    EXPECT_THAT(csv, StartsWith("# benchmark: replicate\n# machine: a machine\n"));
    EXPECT_THAT(csv,
                EndsWith("\nconsumers,rate_median,trusted,why,drops_tx_queue_full\n"
                         "64,1.5,true,,\n"
                         "1,2,false,\"one, \"\"\"\"two\",7\n"));
}

TEST(Report, ShowsTheMachineToPeople) {
    EXPECT_THAT(text_of(two_rows().environment), HasSubstr("a machine"));
}

}  // namespace
}  // namespace penstock::bench
