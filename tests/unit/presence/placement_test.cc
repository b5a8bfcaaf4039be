#include "presence/placement.h"

#include "unit/presence/world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace penstock::presence {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

/// What least_busy() says of all data servers, looked at one by one.
Decision choice_among_all(const State& state, const Stream& stream, MonotonicTime now) {
    std::vector<ServerLoad> loads;
    for (const auto& [name, server] : state.servers) {
        loads.push_back(load_of(state, server, &stream, now));
    }
    return least_busy(loads, placement_rules(state.settings));
}

class Placements : public testing::TestWithParam<std::uint64_t> {};

TEST_P(Placements, AreWhatLeastBusySaysOfAllServers) {
    constexpr int kServers = 30;
    Settings settings;
    settings.recent_period = 2s;
    settings.reserve = 0.05;
    World world(GetParam(), settings);
    std::mt19937_64 random(GetParam());
    for (int i = 0; i < kServers; ++i) {
        ScriptedServer& server = world.new_server("ds" + std::to_string(i));
        server.streams_max = 6;
    }
    int placed = 0;
    for (int move = 0; move < 2'000; ++move) {
        SCOPED_TRACE("seed " + std::to_string(GetParam()) + " move " + std::to_string(move));
        const std::string name = "stream" + std::to_string(random() % 60);
        ScriptedServer& server =
            *std::next(world.servers.begin(), static_cast<std::ptrdiff_t>(random() % kServers));
        switch (random() % 8) {
            case 0:
                server.session ? world.cut(server.session) : world.attach(server);
                break;
            case 1:
                server.utilisation = static_cast<double>(random() % 100) / 100;
                break;
            case 2:
                server.reports_load = !server.reports_load;
                break;
            case 3:
                server.refuses.empty() ? void(server.refuses.insert(name)) : server.refuses.clear();
                break;
            case 4:
                world.pass(std::chrono::milliseconds(random() % 400));
                break;
            default:
                world.add_publisher(name);
        }
        Stream stranger;
        stranger.id = StreamId{1};
        stranger.name = "stranger";
        const Decision decision = place(world.state, stranger, world.now);
        ASSERT_EQ(decision.chosen, choice_among_all(world.state, stranger, world.now).chosen);
        placed += decision.chosen.empty() ? 0 : 1;
    }
    EXPECT_GT(placed, 500) << "a history in which nothing can be placed says nothing";
}

INSTANTIATE_TEST_SUITE_P(Seeds, Placements, testing::Range<std::uint64_t>(1, 11));

TEST(Placement, LooksAtTheFirstFewOfManyServersAndCountsTheOthers) {
    World world;
    for (int i = 10; i < 30; ++i) {
        world.add_server("ds" + std::to_string(i), i / 100.0);
    }
    world.add_publisher("a");
    EXPECT_THAT(world.stream("a").decision.reason,
                HasSubstr("ds10 has the lowest projected utilisation, 0.100, of "
                          "the 20 eligible"));
    EXPECT_THAT(world.stream("a").decision.candidates, SizeIs(8));
    world.add_publisher("b");
    EXPECT_THAT(world.stream("b").decision.reason, HasSubstr("ds11 has the lowest"));
    EXPECT_THAT(world.stream("b").decision.reason, HasSubstr("recent period of 10s: ds10 (0.110"));
}

TEST(Placement, SaysOfManyServersThatNoneCan) {
    World world;
    for (int i = 10; i < 30; ++i) {
        world.add_server("ds" + std::to_string(i), 0.95);
    }
    world.add_publisher("a");
    EXPECT_THAT(world.stream("a").decision.reason, HasSubstr("; nor can 12 others"));
}

TEST(Placement, ShowsWhenItLooksNoFurtherAmongTheRecent) {
    Settings settings;
    settings.reserve = 0;
    World world(1, settings);
    for (int i = 10; i < 30; ++i) {
        world.add_server("ds" + std::to_string(i), i / 100.0);
    }
    for (int i = 0; i < 10; ++i) {
        world.add_publisher("s" + std::to_string(i));
    }
    EXPECT_EQ(world.stream("s9").decision.chosen, "ds19");
    EXPECT_THAT(world.stream("s9").decision.reason, HasSubstr("0 ms ago) and others"));
}

TEST(Placement, HandsTheFirstOutAgainWhenHalfOfManyServersWereSince) {
    Settings settings;
    settings.reserve = 0;
    World world(1, settings);
    for (int i = 10; i < 30; ++i) {
        world.add_server("ds" + std::to_string(i), i / 100.0);
    }
    for (int i = 0; i < 11; ++i) {
        world.add_publisher("s" + std::to_string(i));
        world.pass(1ms);
    }
    EXPECT_EQ(world.stream("s10").decision.chosen, "ds20") << "ten are recent";
    EXPECT_TRUE(list_servers(world.state, "ds10", world.now)->front().recent);
    world.add_publisher("again");
    const Decision& decision = world.stream("again").decision;
    EXPECT_EQ(decision.chosen, "ds10");
    EXPECT_THAT(
        decision.reason,
        HasSubstr("; it was handed out 11 ms ago, but half of the data servers were since"));
    EXPECT_TRUE(decision.candidates.front().recent_over);
    EXPECT_FALSE(decision.candidates.front().recent);
    EXPECT_TRUE(decision.candidates[1].recent) << "ds11, handed out later";
    EXPECT_TRUE(list_servers(world.state, "ds10", world.now)->front().recent) << "once more";
    world.add_publisher("next");
    EXPECT_EQ(world.stream("next").decision.chosen, "ds11");
    const auto info = list_servers(world.state, "ds12", world.now);
    EXPECT_TRUE(info->front().recent);
    world.pass(10s);
    EXPECT_FALSE(list_servers(world.state, "ds12", world.now)->front().recent);
}

TEST(Placement, EndsNoRecentPeriodEarlyAmongFourServers) {
    Settings settings;
    settings.reserve = 0;
    World world(1, settings);
    for (int i = 1; i < 5; ++i) {
        world.add_server("ds" + std::to_string(i), i / 10.0);
    }
    for (int i = 1; i < 5; ++i) {
        world.add_publisher("s" + std::to_string(i));
        EXPECT_EQ(world.stream("s" + std::to_string(i)).decision.chosen, "ds" + std::to_string(i));
    }
    world.add_publisher("fifth");
    EXPECT_EQ(world.stream("fifth").decision.chosen, "ds1");
    EXPECT_THAT(world.stream("fifth").decision.reason, HasSubstr("all 4 eligible data servers"));
}

TEST(Placement, RestoresAHandOutThatWasRefused) {
    World world;
    for (int i = 10; i < 30; ++i) {
        world.add_server("ds" + std::to_string(i), i / 100.0).refuses.insert("news");
    }
    world.add_publisher("news");
    EXPECT_TRUE(world.state.placement.recent.empty()) << "nobody has taken it";
    world.add_publisher("weather");
    EXPECT_EQ(world.stream("weather").decision.chosen, "ds10");
    EXPECT_THAT(world.state.placement.recent, SizeIs(1));
    world.cut(world.server("ds10").session);
    EXPECT_TRUE(world.state.placement.recent.empty());
}

TEST(Placement, KeepsTheCandidatesOfTheNewestDecisionsOnly) {
    World world;
    world.add_server("ds1", 0.1);
    world.add_publisher("news");
    EXPECT_THAT(world.stream("news").decision.candidates, SizeIs(1));
    world.state.explained.resize(kExplainedMax, {stream_id_of("another"), world.now});
    world.add_publisher("weather");
    EXPECT_THAT(world.stream("news").decision.candidates, SizeIs(0));
    EXPECT_EQ(world.stream("news").decision.chosen, "ds1");
}

}  // namespace
}  // namespace penstock::presence
