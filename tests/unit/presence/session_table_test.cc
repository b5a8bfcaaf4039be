#include "presence/session_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <set>

namespace penstock::presence {
namespace {

using testing::UnorderedElementsAre;

TEST(SessionIds, AreNeverUsedTwiceThoughTheirPlacesAre) {
    SessionIds ids;
    std::set<SessionId> used;
    std::set<std::size_t> places;
    for (int i = 0; i < 100; ++i) {
        const SessionId one = ids.take();
        const SessionId other = ids.take();
        EXPECT_TRUE(one);
        for (const SessionId id : {one, other}) {
            EXPECT_TRUE(used.insert(id).second);
            places.insert(place_of(id));
            ids.give_back(id);
        }
    }
    EXPECT_EQ(places.size(), 2) << "as many as were open at once";
}

TEST(SessionTable, FindsASessionUntilItIsErased) {
    SessionIds ids;
    SessionTable table;
    const SessionId first = ids.take();
    const SessionId second = ids.take();
    table.add(first, SessionKind::publisher).greeted = true;
    table.add(second, SessionKind::consumer);
    ASSERT_NE(table.find(first), nullptr);
    EXPECT_TRUE(table.find(first)->greeted);
    EXPECT_EQ(table.at(second).kind, SessionKind::consumer);
    EXPECT_THAT(table.ids(), UnorderedElementsAre(first, second));
    EXPECT_TRUE(table.erase(first));
    EXPECT_FALSE(table.erase(first));
    EXPECT_FALSE(table.contains(first));
    EXPECT_EQ(table.size(), 1);
}

TEST(SessionTable, TakesAnIdThatIsOverForNobodysThoughItsPlaceIsHadAgain) {
    SessionIds ids;
    SessionTable table;
    const SessionId former = ids.take();
    table.add(former, SessionKind::publisher).greeted = true;
    table.erase(former);
    ids.give_back(former);
    const SessionId now = ids.take();
    table.add(now, SessionKind::consumer);
    EXPECT_FALSE(table.contains(former));
    EXPECT_FALSE(table.erase(former));
    EXPECT_FALSE(table.at(now).greeted) << "nothing is left of the former";
    EXPECT_THAT(table.ids(), UnorderedElementsAre(now));
}

TEST(SessionTable, KnowsNothingOfAnIdBeyondIt) {
    const SessionTable table;
    EXPECT_EQ(table.find(SessionId{7}), nullptr);
    EXPECT_EQ(table.find(SessionId{~std::uint64_t{0}}), nullptr);
    EXPECT_TRUE(table.empty());
}

TEST(SessionTable, HasNoRoomForTwoAtOnePlace) {
    SessionTable table;
    table.add(SessionId{5}, SessionKind::consumer);
    constexpr std::uint64_t kNextGeneration = 1ULL << kSessionPlaceBits;
    EXPECT_DEATH(table.add(SessionId{kNextGeneration + 5}, SessionKind::consumer), "is_open");
}

}  // namespace
}  // namespace penstock::presence
