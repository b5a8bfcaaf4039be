#include "penstock_bench/progress.h"

#include <gtest/gtest.h>

namespace penstock::bench {
namespace {

TEST(Progress, FillsItsBar) {
    EXPECT_EQ(progress_line(0, 4, "a"), "[                              ]   0 % a");
    EXPECT_EQ(progress_line(1, 2, "b"), "[###############               ]  50 % b");
    EXPECT_EQ(progress_line(9, 4, "c"), "[##############################] 100 % c");
}

}  // namespace
}  // namespace penstock::bench
