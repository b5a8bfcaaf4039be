#include "penstock_bench/histogram.h"

#include "support/allocation_guard.h"

#include <gtest/gtest.h>

namespace penstock::bench {
namespace {

TEST(Histogram, KeepsSmallValuesExactly) {
    Histogram histogram;
    for (std::uint64_t value = 1; value <= 100; ++value) {
        histogram.record(value);
    }
    EXPECT_EQ(histogram.percentile(0), 1U);
    EXPECT_EQ(histogram.percentile(0.5), 50U);
    EXPECT_EQ(histogram.percentile(0.9), 90U);
    EXPECT_EQ(histogram.percentile(0.99), 99U);
    EXPECT_EQ(histogram.percentile(0.999), 100U);
    EXPECT_EQ(histogram.percentile(1), 100U);
}

TEST(Histogram, IsWithinOnePerCentOfEveryValue) {
    for (std::uint64_t value = 1; value < Histogram::kValueMax / 2; value = value * 5 / 4 + 1) {
        Histogram histogram;
        histogram.record(value);
        histogram.record(Histogram::kValueMax);
        const std::uint64_t found = histogram.percentile(0.5);
        EXPECT_GE(found, value);
        EXPECT_LE(found, value + value / 128) << value;
    }
}

TEST(Histogram, KeepsBucketsInOrder) {
    Histogram histogram;
    for (unsigned bit = 0; bit < 40; ++bit) {
        histogram.record((std::uint64_t{1} << bit) - 1);
        histogram.record(std::uint64_t{1} << bit);
    }
    std::uint64_t before = 0;
    for (unsigned i = 1; i <= 80; ++i) {
        const std::uint64_t found = histogram.percentile(i / 80.0);
        EXPECT_GE(found, before);
        before = found;
    }
}

TEST(Histogram, NeverAnswersAboveTheLargestValue) {
    Histogram histogram;
    histogram.record(1'000'000);
    EXPECT_EQ(histogram.percentile(1), 1'000'000U);
    EXPECT_EQ(histogram.max(), 1'000'000U);
}

TEST(Histogram, CountsWhatIsTooLargeAsItsLargest) {
    Histogram histogram;
    histogram.record(~std::uint64_t{0});
    EXPECT_EQ(histogram.max(), Histogram::kValueMax);
    EXPECT_EQ(histogram.percentile(1), Histogram::kValueMax);
}

TEST(Histogram, AddsAnother) {
    Histogram first;
    Histogram second;
    first.record(10);
    second.record(1'000);
    second.record(20);
    first.add(second);
    EXPECT_EQ(first.count(), 3U);
    EXPECT_EQ(first.percentile(0.5), 20U);
    EXPECT_EQ(first.max(), 1'000U);
}

TEST(Histogram, ForgetsEverything) {
    Histogram histogram;
    histogram.record(5);
    histogram.clear();
    EXPECT_EQ(histogram.count(), 0U);
    EXPECT_EQ(histogram.percentile(0.5), 0U);
}

TEST(Histogram, AllocatesNothingWhileRecording) {
    Histogram histogram;
    const AllocationGuard guard;
    for (std::uint64_t value = 1; value < Histogram::kValueMax / 2; value *= 2) {
        histogram.record(value);
    }
    EXPECT_EQ(guard.allocations(), 0U);
}

}  // namespace
}  // namespace penstock::bench
