#include "base/byte_order.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstring>

namespace penstock {
namespace {

TEST(ByteOrder, LiesBigEndianInMemory) {
    const Be64 value = 0x0102030405060708ULL;
    std::array<std::uint8_t, 8> bytes{};
    std::memcpy(bytes.data(), &value, bytes.size());
    EXPECT_EQ(bytes, (std::array<std::uint8_t, 8>{1, 2, 3, 4, 5, 6, 7, 8}));
    EXPECT_EQ(Be16{0x0102}.raw(), 0x0201U);
    EXPECT_EQ(Be32::from_raw(0x04030201U), 0x01020304U);
}

TEST(ByteOrder, ComparesAsItsHostValue) {
    EXPECT_TRUE(Be16{256} == 256);
    EXPECT_TRUE(Be16{256} == Be16{256});
    EXPECT_TRUE(Be16{1} < Be16{256});
    EXPECT_TRUE(Be64{7} != 8U);
}

}  // namespace
}  // namespace penstock
