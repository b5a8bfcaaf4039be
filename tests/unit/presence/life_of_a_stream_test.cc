#include "unit/presence/world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::presence {
namespace {

using control::AssignmentState;
using control::DesiredState;
using testing::ElementsAre;

TEST(LifeOfAStream, IsVisibleStepByStep) {
    World world;
    world.add_server("ds1");
    ScriptedPublisher& publisher = world.add_publisher("news");
    EXPECT_EQ(world.phase("news"), "lingering");
    ScriptedConsumer& consumer = world.add_consumer("news");
    ASSERT_EQ(consumer.state(), AssignmentState::ready);
    world.join(consumer);
    world.pass(10s);
    EXPECT_EQ(world.phase("news"), "transmitting") << "it is watched";

    world.leave(consumer);
    world.cut(consumer.session);
    EXPECT_EQ(world.phase("news"), "lingering");
    world.pass(5s);
    EXPECT_EQ(world.phase("news"), "waiting");
    EXPECT_EQ(publisher.told.back().state, DesiredState::wait);
    EXPECT_TRUE(world.server("ds1").open.empty());

    ScriptedConsumer& second = world.add_consumer("news");
    EXPECT_EQ(second.state(), AssignmentState::ready);
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
    EXPECT_THAT(world.events_of("news"),
                ElementsAre("publish_requested",
                            "assigned",
                            "stream_opened",
                            "start_sent",
                            "transmitting",
                            "lingering",
                            "consumer_requested",
                            "consumer_ready",
                            "consumer_joined",
                            "consumer_left",
                            "lingering",
                            "stop_sent",
                            "stopped",
                            "stream_closed",
                            "waiting",
                            "consumer_requested",
                            "assigned",
                            "stream_opened",
                            "start_sent",
                            "consumer_ready",
                            "transmitting"));
}

TEST(LifeOfAStream, GoesOnWithoutAPublisherThatIgnoresStop) {
    World world;
    world.add_server("ds1");
    ScriptedPublisher& publisher = world.add_publisher("news");
    publisher.acknowledges = false;
    world.pass(5s);
    EXPECT_EQ(publisher.told.back().state, DesiredState::stop);
    EXPECT_FALSE(world.server("ds1").open.empty());
    world.pass(3s);
    EXPECT_TRUE(world.server("ds1").open.empty()) << "what it sends on is dropped there";
    EXPECT_EQ(publisher.told.back().state, DesiredState::wait);
    publisher.acknowledges = true;
    ScriptedConsumer& consumer = world.add_consumer("news");
    EXPECT_EQ(consumer.state(), AssignmentState::ready);
}

}  // namespace
}  // namespace penstock::presence
