#include "presence/reserve.h"

#include "unit/presence/world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace penstock::presence {
namespace {

Settings settings_of(double reserve) {
    Settings settings;
    settings.reserve = reserve;
    settings.recent_period = 0s;
    return settings;
}

double expected_at(World& world, const std::string& server) {
    Stream stranger;
    stranger.watchers.consumers = 0;
    return expected_share(world.state, world.state.servers.at(server), stranger);
}

TEST(Reserve, IsTheSettingUntilStreamsAreMeasured) {
    World world(1, settings_of(0.2));
    world.add_server("ds1", 0.5);
    EXPECT_NEAR(expected_at(world, "ds1"), 0.2, 1e-9)
        << "what it does without streams says nothing";
    world.add_publisher("a");
    EXPECT_NEAR(expected_at(world, "ds1"), 0.2, 1e-9) << "not measured yet";
}

TEST(Reserve, IsWhatStreamsTakeOnAverageWhenManyAreMeasured) {
    World world(1, settings_of(0));
    world.add_server("ds1", 0.2);
    world.add_server("ds2", 0.6);
    for (int i = 0; i < 32; ++i) {
        world.add_publisher("s" + std::to_string(i));
        world.add_consumer("s" + std::to_string(i));
        world.pass(1s);
    }
    EXPECT_EQ(world.server("ds1").open.size() + world.server("ds2").open.size(), 32);
    const double all =
        (world.server("ds1").open.empty() ? 0 : 0.2) + (world.server("ds2").open.empty() ? 0 : 0.6);
    EXPECT_NEAR(expected_at(world, "ds1"), all / (32 + 8), 1e-6);
}

TEST(Reserve, OfAFewStreamsGoesByTheSettingRatherThanByThem) {
    World world(1, settings_of(0.01));
    world.add_server("ds1", 0.8);
    world.add_publisher("hot");
    world.add_consumer("hot");
    world.pass(1s);
    EXPECT_NEAR(expected_at(world, "ds1"), (0.8 + 8 * 0.01) / 9, 1e-6);
}

TEST(Reserve, CountsADeclaredRateOnceForEveryConsumerIfThatIsMore) {
    World world(1, settings_of(0.01));
    world.add_server("ds1", 0.1);
    ScriptedPublisher& publisher = world.new_publisher("news");
    publisher.start = control::StartPolicy::demand;
    publisher.max_bits_per_second = 100'000'000;  // of 10 Gbit
    world.publish(publisher);
    Stream& stream = world.stream("news");
    const DataServer& server = world.state.servers.at("ds1");
    EXPECT_NEAR(expected_share(world.state, server, stream), 0.01, 1e-9);
    for (int i = 0; i < 5; ++i) {
        world.add_consumer("news");
    }
    EXPECT_NEAR(expected_share(world.state, server, stream), 0.05, 1e-3);
    stream.watchers.bits_per_second = 1;
    EXPECT_NEAR(expected_share(world.state, server, stream), 0.01, 1e-3);
}

TEST(Reserve, ForgetsWhatADataServerThatIsAwayHadMeasured) {
    World world(1, settings_of(0.01));
    ScriptedServer& server = world.add_server("ds1", 0.8);
    world.add_publisher("hot");
    world.add_consumer("hot");
    world.pass(1s);
    EXPECT_EQ(world.state.placement.measured.streams, 1);
    EXPECT_EQ(world.state.placement.measured.millionths, 800'000);
    world.cut(server.session);
    EXPECT_EQ(world.state.placement.measured.streams, 0);
    EXPECT_EQ(world.state.placement.measured.millionths, 0);
}

}  // namespace
}  // namespace penstock::presence
