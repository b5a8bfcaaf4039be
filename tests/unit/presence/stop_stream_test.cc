#include "presence/stop_stream.h"

#include "unit/presence/world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::presence {
namespace {

using control::AssignmentState;
using control::DesiredState;

TEST(StopStream, StopsAnUnwatchedStreamAfterCloseAfter) {
    World world;
    world.add_server("ds1");
    ScriptedPublisher& publisher = world.add_publisher("news");
    world.pass(4'999ms);
    EXPECT_EQ(world.phase("news"), "lingering");
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
    world.pass(1ms);
    ASSERT_GE(publisher.told.size(), 2);
    EXPECT_EQ(publisher.told[publisher.told.size() - 2].state, DesiredState::stop);
    EXPECT_EQ(publisher.told.back().state, DesiredState::wait);
    EXPECT_EQ(world.phase("news"), "waiting");
}

TEST(StopStream, TakesCloseAfterFromThePublisherIfItSays) {
    World world;
    world.add_server("ds1");
    ScriptedPublisher& publisher = world.new_publisher("news");
    publisher.close_after_ms = 200;
    world.publish(publisher);
    world.pass(200ms);
    EXPECT_EQ(world.phase("news"), "waiting");
}

TEST(StopStream, NewConsumerCancelsTheLingering) {
    World world;
    world.add_server("ds1");
    ScriptedPublisher& publisher = world.add_publisher("news");
    world.pass(4'999ms);
    ScriptedConsumer& consumer = world.add_consumer("news");
    EXPECT_EQ(world.phase("news"), "transmitting");
    EXPECT_EQ(consumer.state(), AssignmentState::ready) << "at once, nothing has to start";
    world.pass(60s);
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
    world.cut(consumer.session);
    world.pass(4'999ms);
    EXPECT_EQ(world.phase("news"), "lingering") << "close-after runs from its beginning";
    world.pass(1ms);
    EXPECT_EQ(world.phase("news"), "waiting");
}

TEST(StopStream, RepeatsStopUntilItIsAcknowledgedAndOnlyThenCloses) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    ScriptedPublisher& publisher = world.add_publisher("news");
    publisher.acknowledges = false;
    world.pass(5s);
    const control::PublisherDesired stop = publisher.told.back();
    ASSERT_EQ(stop.state, DesiredState::stop);
    const std::size_t told = publisher.told.size();
    world.pass(2s);
    EXPECT_EQ(publisher.told.size(), told + 2);
    EXPECT_EQ(publisher.told.back().version, stop.version);
    EXPECT_TRUE(server.open.contains(stream_id_of("news"))) << "its last datagrams are relayed";
    world.acknowledge(publisher, stop);
    EXPECT_TRUE(server.open.empty());
    EXPECT_EQ(publisher.told.back().state, DesiredState::wait);
}

TEST(StopStream, WaitsForTheServerToCloseBeforeItSaysWait) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    ScriptedPublisher& publisher = world.add_publisher("news");
    server.acknowledges = false;
    world.pass(5s);
    EXPECT_EQ(publisher.told.back().state, DesiredState::stop);
    ASSERT_EQ(server.sets.back().close.size(), 1);
    control::Applied applied;
    applied.epoch = server.sets.back().epoch;
    applied.generation = server.sets.back().generation;
    world.take(FromDataServer{server.session, applied});
    EXPECT_EQ(publisher.told.back().state, DesiredState::wait);
    EXPECT_EQ(world.count_events(EventKind::stream_closed), 1);
}

TEST(StopStream, ConsumerThatComesWhileStoppingGetsTheNextStart) {
    World world;
    world.add_server("ds1");
    ScriptedPublisher& publisher = world.add_publisher("news");
    publisher.acknowledges = false;
    world.pass(5s);
    const control::PublisherDesired stop = publisher.told.back();
    ScriptedConsumer& consumer = world.add_consumer("news");
    EXPECT_EQ(consumer.state(), AssignmentState::wait);
    EXPECT_EQ(consumer.told.back().reason, "the stream is being stopped before it starts again");
    publisher.acknowledges = true;
    world.acknowledge(publisher, stop);
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
    EXPECT_EQ(consumer.state(), AssignmentState::ready);
}

TEST(StopStream, SecondStartIsAssignedAfresh) {
    World world;
    world.add_server("ds1", 0.1);
    world.add_server("ds2", 0.2);
    ScriptedPublisher& publisher = world.add_publisher("news");
    EXPECT_EQ(publisher.told.back().data_server, "ds1");
    world.pass(20s);
    world.server("ds1").utilisation = 0.5;
    world.pass(100ms);
    world.add_consumer("news");
    EXPECT_EQ(publisher.told.back().data_server, "ds2");
    EXPECT_EQ(world.stream("news").decided_for, "consumer request");
    EXPECT_EQ(world.stream("news").hand_outs, 2);
}

TEST(StopStream, PublisherThatGoesWhileStoppingCountsAsStopped) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    ScriptedPublisher& publisher = world.add_publisher("news");
    publisher.acknowledges = false;
    world.pass(5s);
    world.cut(publisher.session);
    world.pass(3s);
    EXPECT_EQ(world.phase("news"), "gone");
    EXPECT_TRUE(server.open.empty());
}

TEST(StopStream, StopSurvivesTheLossOfTheServer) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    ScriptedPublisher& publisher = world.add_publisher("news");
    publisher.acknowledges = false;
    world.pass(5s);
    const control::PublisherDesired stop = publisher.told.back();
    world.cut(server.session);
    publisher.acknowledges = true;
    world.acknowledge(publisher, stop);
    EXPECT_EQ(publisher.told.back().state, DesiredState::wait);
    EXPECT_EQ(world.phase("news"), "waiting");
}

TEST(StopStream, LossOfTheServerWhileClosingEndsTheClosing) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    ScriptedPublisher& publisher = world.add_publisher("news");
    server.acknowledges = false;
    world.pass(5s);
    world.cut(server.session);
    EXPECT_EQ(publisher.told.back().state, DesiredState::wait);
    server.acknowledges = true;
    world.attach(server);
    EXPECT_TRUE(server.open.empty()) << "the full set does not name it";
}

}  // namespace
}  // namespace penstock::presence
