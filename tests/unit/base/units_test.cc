#include "base/units.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <limits>
#include <string_view>

namespace penstock {
namespace {

using std::chrono::nanoseconds;
constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

struct QuantityCase {
    std::string_view text;
    std::uint64_t value;
};

TEST(Units, ReadDurations) {
    constexpr QuantityCase kCases[] = {
        {"0", 0},
        {"0s", 0},
        {"1ns", 1},
        {"250us", 250'000},
        {"20ms", 20'000'000},
        {"2s", 2'000'000'000},
        {"5m", 300'000'000'000},
        {"1h", 3'600'000'000'000},
        {"1.5s", 1'500'000'000},
        {"0.25us", 250},
        {"0.5h", 1'800'000'000'000},
        {"1.0ns", 1},
        {"007s", 7'000'000'000},
        {"9223372036854775807ns", 9'223'372'036'854'775'807},
    };
    for (const QuantityCase& c : kCases) {
        const auto read = parse_duration(c.text);
        ASSERT_TRUE(read.ok()) << read.error().message;
        EXPECT_EQ(read->count(), static_cast<std::int64_t>(c.value)) << c.text;
    }
}

TEST(Units, ReadSizesAndRates) {
    constexpr QuantityCase kSizes[] = {{"0", 0},
                                       {"512B", 512},
                                       {"64KiB", 65536},
                                       {"256MiB", 268435456},
                                       {"2GiB", 2147483648},
                                       {"18446744073709551615B", kMost}};
    for (const QuantityCase& c : kSizes) {
        const auto read = parse_bytes(c.text);
        ASSERT_TRUE(read.ok()) << read.error().message;
        EXPECT_EQ(*read, c.value) << c.text;
    }
    constexpr QuantityCase kRates[] = {{"0", 0},
                                       {"800bit", 800},
                                       {"20kbit", 20'000},
                                       {"20Mbit", 20'000'000},
                                       {"2.5Gbit", 2'500'000'000},
                                       {"10Gbit", 10'000'000'000}};
    for (const QuantityCase& c : kRates) {
        const auto read = parse_bit_rate(c.text);
        ASSERT_TRUE(read.ok()) << read.error().message;
        EXPECT_EQ(*read, c.value) << c.text;
    }
}

struct BadCase {
    std::string_view text;
    std::string_view why;
};

TEST(Units, RefuseBadDurationsAndSayWhy) {
    constexpr BadCase kCases[] = {
        {"", "it does not begin with a digit"},
        {"s", "it does not begin with a digit"},
        {"-1s", "it does not begin with a digit"},
        {"+1s", "it does not begin with a digit"},
        {" 1s", "it does not begin with a digit"},
        {".5s", "it does not begin with a digit"},
        {"10", "it has no unit"},
        {"1.5", "it has no unit"},
        {"2 s", "' s' is not a unit"},
        {"2s ", "'s ' is not a unit"},
        {"2S", "'S' is not a unit"},
        {"1e3ms", "'e3ms' is not a unit"},
        {"0x10ms", "'x10ms' is not a unit"},
        {"1,5s", "',5s' is not a unit"},
        {"1s500ms", "'s500ms' is not a unit"},
        {"1.s", "there is no digit behind the point"},
        {"1.5.5s", "'.5s' is not a unit"},
        {"1.5ns", "it is not a whole number of ns"},
        {"0.0000000001s", "it is not a whole number of ns"},
        {"9223372036854775808ns", "it is too large"},
        {"2562048h", "it is too large"},
        {"99999999999999999999999s", "it is too large"},
        {"18446744073709551616ns", "it is too large"},
    };
    for (const BadCase& c : kCases) {
        const auto read = parse_duration(c.text);
        ASSERT_FALSE(read.ok()) << c.text;
        EXPECT_EQ(read.error().code, ErrorCode::invalid_argument);
        EXPECT_EQ(read.error().message,
                  fmt::format("'{}' is not a duration: {}; write it like 250us, 20ms, 2s, 5m or 1h",
                              c.text,
                              c.why));
    }
}

TEST(Units, RefuseBadSizesAndRates) {
    for (const std::string_view text : {"10",
                                        "64 KiB",
                                        "64kib",
                                        "64KB",
                                        "64K",
                                        "-1B",
                                        "1.5GiB",
                                        "0.5B",
                                        "18446744073709551616B",
                                        "17179869184GiB",
                                        "1e3MiB",
                                        ""}) {
        EXPECT_FALSE(parse_bytes(text).ok()) << text;
    }
    for (const std::string_view text : {"10",
                                        "20 Mbit",
                                        "20mbit",
                                        "20Mbit/s",
                                        "20M",
                                        "-1bit",
                                        "0.5bit",
                                        "18446744073.709551616Gbit",
                                        "18446744074Gbit",
                                        "1e3Mbit",
                                        ""}) {
        EXPECT_FALSE(parse_bit_rate(text).ok()) << text;
    }
}

TEST(Units, WriteTheShortestExactText) {
    struct Case {
        std::int64_t value;
        std::string_view text;
    };
    constexpr Case kCases[] = {
        {0, "0s"},
        {1, "1ns"},
        {1'500, "1.5us"},
        {20'000'000, "20ms"},
        {1'500'000'000, "1.5s"},
        {90'000'000'000, "90s"},
        {60'000'000'000, "1m"},
        {5'400'000'000'000, "90m"},
        {7'200'000'000'000, "2h"},
        {1'000'000'001, "1.000000001s"},
        {-1'500'000'000, "-1.5s"},
    };
    for (const Case& c : kCases) {
        EXPECT_EQ(format_duration(nanoseconds(c.value)), c.text);
    }
    EXPECT_EQ(format_bytes(0), "0B");
    EXPECT_EQ(format_bytes(65536), "64KiB");
    EXPECT_EQ(format_bytes(1536ULL << 20U), "1536MiB");
    EXPECT_EQ(format_bytes(1025), "1025B");
    EXPECT_EQ(format_bit_rate(0), "0bit");
    EXPECT_EQ(format_bit_rate(20'000'000), "20Mbit");
    EXPECT_EQ(format_bit_rate(2'500'000'000), "2.5Gbit");
    EXPECT_EQ(format_bit_rate(1), "1bit");
}

TEST(Units, ReadBackWhatTheyWrite) {
    std::uint64_t value = 1;
    for (int i = 0; i < 200; ++i) {
        value = value * 6364136223846793005ULL + 1442695040888963407ULL;  // any spread of values
        const std::uint64_t sample = value >> static_cast<unsigned>(i % 64);
        const nanoseconds duration(static_cast<std::int64_t>(sample >> 1U));
        EXPECT_EQ(*parse_duration(format_duration(duration)), duration);
        EXPECT_EQ(*parse_bytes(format_bytes(sample)), sample);
        EXPECT_EQ(*parse_bit_rate(format_bit_rate(sample)), sample);
    }
    EXPECT_EQ(*parse_duration(format_duration(nanoseconds::max())), nanoseconds::max());
    EXPECT_EQ(*parse_bit_rate(format_bit_rate(kMost)), kMost);
}

}  // namespace
}  // namespace penstock
