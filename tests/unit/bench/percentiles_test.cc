#include "penstock_bench/percentiles.h"

#include <gtest/gtest.h>

namespace penstock::bench {
namespace {

TEST(Percentiles, AreNanosecondsWhateverTheTscsRate) {
    Histogram cycles;
    for (std::uint64_t i = 1; i <= 100; ++i) {
        cycles.record(i);
    }
    const Percentiles percentiles = percentiles_of(cycles, 2'000'000'000);
    EXPECT_DOUBLE_EQ(percentiles.p50, 25);
    EXPECT_DOUBLE_EQ(percentiles.p90, 45);
    EXPECT_DOUBLE_EQ(percentiles.p99, 49.5);
    EXPECT_DOUBLE_EQ(percentiles.max, 50);
}

TEST(Percentiles, AreShownAsMicrosecondsUnderTheirHeading) {
    const Percentiles percentiles{
        .p50 = 1'500, .p90 = 2'000, .p99 = 3'000, .p999 = 4'000, .max = 5'000};
    EXPECT_EQ(line_of("added", percentiles),
              "  added             1.50      2.00      3.00      4.00      5.00\n");
    EXPECT_EQ(percentile_heading().size(), line_of("added", percentiles).size());
    const Fields fields = fields_of(percentiles);
    EXPECT_EQ(fields.at(2).key, "p99");
    EXPECT_DOUBLE_EQ(std::get<double>(fields.at(2).value), 3);
}

}  // namespace
}  // namespace penstock::bench
