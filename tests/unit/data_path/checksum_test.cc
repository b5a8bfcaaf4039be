#include "data_path/checksum.h"

#include "support/packet_builder.h"

#include <gtest/gtest.h>

#include <array>

namespace penstock {
namespace {

/// A raw word, as stored in memory, of a value as it is written on paper.
std::uint16_t raw(std::uint16_t value) {
    return static_cast<std::uint16_t>(value << 8U | value >> 8U);
}

TEST(Checksum, SumAgreesWithTheTextbookForEveryLength) {
    Bytes bytes;
    for (unsigned i = 0; i < 300; ++i) {
        const auto textbook = static_cast<std::uint16_t>(~internet_checksum(bytes));
        EXPECT_EQ(sum_bytes(bytes.data(), bytes.size()), raw(textbook)) << i;
        bytes.push_back(static_cast<std::uint8_t>(i * 89 + 7));
    }
}

TEST(Checksum, FoldAddsTheCarriesUntilThereAreNone) {
    EXPECT_EQ(fold_sum(0U), 0);
    EXPECT_EQ(fold_sum(0x1ffffU), 1);
    EXPECT_EQ(fold_sum(0xffff0000U), 0xffff);
    EXPECT_EQ(fold_sum(0xffffffffU), 0xffff);
    EXPECT_EQ(fold_sum(0x0001fffeU), 0xffff);
}

TEST(Checksum, SumsOf32BitWordsFoldToTheSame) {
    EXPECT_EQ(fold_sum(std::uint64_t{0}), 0);
    EXPECT_EQ(fold_sum(std::uint64_t{0x1'0000'0000}), 1);
    EXPECT_EQ(fold_sum(std::uint64_t{0x0001'0001'fffe}), 1);
    EXPECT_EQ(fold_sum(std::uint64_t{0x7fff'ffff'ffff}), fold_sum(0x7fffU + 0xffffU + 0xffffU));
    std::array<std::uint32_t, 5> words{0xffff'ffff, 0x1234'5678, 0x8000'0001, 0xfedc'ba98, 7};
    std::uint64_t sum = 0;
    for (const std::uint32_t word : words) {
        sum += word;
        EXPECT_EQ(fold_sum(sum) % 0xffff, sum % 0xffff);
    }
    EXPECT_EQ(fold_sum(sum), sum_bytes(words.data(), sizeof(words)));
}

TEST(Checksum, OneFoldIsEnoughForTwoSums) {
    for (const std::uint32_t known : {0U, 1U, 0x7fffU, 0x8000U, 0xfffeU, 0xffffU}) {
        for (const std::uint32_t rest : {0U, 1U, 0x7fffU, 0x8000U, 0xfffeU, 0xffffU}) {
            EXPECT_EQ(ip_checksum(known, rest),
                      static_cast<std::uint16_t>(~fold_sum(known + rest)));
        }
    }
}

TEST(Checksum, UdpNeverSendsZeroAndIpMay) {
    EXPECT_EQ(ip_checksum(0xff00, 0x00ff), 0);
    EXPECT_EQ(udp_checksum(0xff00, 0x00ff), 0xffff);
    EXPECT_EQ(udp_checksum(0xff00, 0x00fe), 1);
}

}  // namespace
}  // namespace penstock
