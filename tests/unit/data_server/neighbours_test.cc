#include "data_server/neighbours.h"

#include <gtest/gtest.h>

namespace penstock {
namespace {

const IpAddress kRouter = IpAddress::v4(0x0a5b0001);
const MacAddress kOld{{2, 0, 0, 0, 0, 1}};
const MacAddress kNew{{2, 0, 0, 0, 0, 2}};

TEST(NeighbourTable, TellsOnlyOfChanges) {
    NeighbourTable table;
    EXPECT_EQ(table.learn(0, kRouter, kOld), std::nullopt);
    EXPECT_EQ(table.learn(0, kRouter, kOld), std::nullopt);
    EXPECT_EQ(table.learn(0, kRouter, kNew), kOld);
    EXPECT_EQ(table.learn(0, kRouter, kNew), std::nullopt);
}

TEST(NeighbourTable, KeepsPortsApart) {
    NeighbourTable table;
    table.learn(0, kRouter, kOld);
    EXPECT_EQ(table.learn(1, kRouter, kNew), std::nullopt);
}

TEST(NeighbourTable, RemembersNoMoreThanItsLimit) {
    NeighbourTable table;
    for (std::uint32_t i = 0; i < NeighbourTable::kNeighboursMax; ++i) {
        table.learn(0, IpAddress::v4(0x0a000000 + i), kOld);
    }
    table.learn(0, kRouter, kOld);
    EXPECT_EQ(table.learn(0, kRouter, kNew), std::nullopt) << "one too many was not remembered";
    EXPECT_EQ(table.learn(0, IpAddress::v4(0x0a000000), kNew), kOld);
}

}  // namespace
}  // namespace penstock
