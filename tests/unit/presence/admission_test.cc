#include "unit/presence/world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::presence {
namespace {

using control::AssignmentState;
using control::DesiredState;
using testing::HasSubstr;

TEST(Admission, RefusesAConsumerBeyondTheLimitOfItsStreamAndSaysWhenToAskAgain) {
    Settings settings;
    settings.stream_consumers_max = 2;
    World world(1, settings);
    world.add_server("ds1");
    world.add_publisher("news");
    ScriptedConsumer& first = world.add_consumer("news");
    world.join(first);
    world.add_consumer("news");
    ScriptedConsumer& third = world.add_consumer("news");
    ASSERT_TRUE(third.rejected.has_value());
    EXPECT_EQ(third.rejected->reason, "the stream news has 2 consumers already");
    EXPECT_EQ(third.rejected->retry_after_ms, 1000);
    world.leave(first);
    world.cut(first.session);
    world.request(third);
    EXPECT_EQ(third.state(), AssignmentState::ready);
}

TEST(Admission, CountsAConsumerThatAsksAgainOnce) {
    Settings settings;
    settings.stream_consumers_max = 1;
    World world(1, settings);
    world.add_server("ds1");
    world.add_publisher("news");
    ScriptedConsumer& consumer = world.add_consumer("news");
    world.join(consumer);
    world.request(consumer);
    EXPECT_FALSE(consumer.rejected.has_value());
    world.cut(consumer.session);
    world.request(consumer);
    EXPECT_FALSE(consumer.rejected.has_value()) << "its flow is still there";
}

TEST(Admission, RefusesAConsumerBeyondTheLimitOfItsDataServer) {
    Settings settings;
    settings.server_consumers_max = 2;
    World world(1, settings);
    world.add_server("ds1");
    world.add_publisher("a");
    world.add_publisher("b");
    world.add_consumer("a");
    ScriptedConsumer& second = world.add_consumer("b");
    ScriptedConsumer& third = world.add_consumer("b");
    ASSERT_TRUE(third.rejected.has_value());
    EXPECT_EQ(third.rejected->reason, "its data server ds1 has 2 consumers already");
    EXPECT_GT(third.rejected->retry_after_ms, 0);
    world.cut(second.session);
    world.request(third);
    EXPECT_EQ(third.state(), AssignmentState::ready);
}

TEST(Admission, LetsNoMoreWaitForAStreamThanADataServerMayHave) {
    Settings settings;
    settings.server_consumers_max = 2;
    World world(1, settings);
    world.add_consumer("news");
    world.add_consumer("news");
    ScriptedConsumer& third = world.add_consumer("news");
    ASSERT_TRUE(third.rejected.has_value());
    EXPECT_EQ(third.rejected->reason, "the stream news has 2 consumers already");
    world.add_server("ds1");
    EXPECT_EQ(world.add_publisher("news").told.back().data_server, "ds1") << "it can be given";
}

TEST(Admission, GivesAFullDataServerNoMoreStreams) {
    Settings settings;
    settings.server_consumers_max = 1;
    settings.recent_period = 0s;
    World world(1, settings);
    world.add_server("ds1", 0.1);
    world.add_server("ds2", 0.5);
    world.add_publisher("a");
    world.add_consumer("a");
    EXPECT_EQ(world.add_publisher("b").told.back().data_server, "ds2");
}

TEST(Admission, GivesADataServerNoMoreStreamsThanTheOperatorAllows) {
    Settings settings;
    settings.server_streams_max = 1;
    World world(1, settings);
    world.add_server("ds1");
    world.add_publisher("a");
    ScriptedPublisher& second = world.add_publisher("b");
    EXPECT_EQ(second.told.back().state, DesiredState::wait);
    EXPECT_THAT(world.stream("b").decision.reason, HasSubstr("it has 1 streams and takes no more"));
}

TEST(Admission, CountsADeclaredRateOnceForEveryConsumer) {
    Settings settings;
    settings.server_bits_per_second_max = 10'000'000;
    settings.recent_period = 0s;
    World world(1, settings);
    world.add_server("ds1");
    ScriptedPublisher& publisher = world.new_publisher("a");
    publisher.max_bits_per_second = 4'000'000;
    world.publish(publisher);
    world.add_consumer("a");
    world.add_consumer("a");
    ScriptedConsumer& third = world.add_consumer("a");
    ASSERT_TRUE(third.rejected.has_value());
    EXPECT_EQ(third.rejected->reason,
              "its data server ds1 has no rate left for "
              "one more consumer: 8Mbit of 10Mbit");
    ScriptedPublisher& another = world.new_publisher("b");
    another.max_bits_per_second = 3'000'000;
    world.publish(another);
    EXPECT_EQ(another.told.back().state, DesiredState::wait);
    EXPECT_THAT(world.stream("b").decision.reason, HasSubstr("declared to take 8Mbit of 10Mbit"));
}

TEST(Admission, MovesNoMoreConsumersToADataServerThanItTakes) {
    Settings settings;
    settings.server_consumers_max = 2;
    settings.recent_period = 0s;
    World world(1, settings);
    world.add_server("ds1", 0.1);
    for (const char* name : {"a", "b"}) {
        world.add_publisher(name);
        world.join(world.add_consumer(name));
    }
    world.add_server("ds2", 0.2);
    world.add_publisher("c");
    world.join(world.add_consumer("c"));
    ASSERT_EQ(world.stream("c").server, "ds2");

    world.take(FromOperator{7, {"ds1", control::ServerDuty::draining, 5min}});
    world.pass(3s);
    EXPECT_EQ(world.state.servers.at("ds2").watchers.consumers, 2);
    EXPECT_EQ(world.count_events(EventKind::moving), 1);
}

TEST(Admission, KeepsItsCountsWhenStreamsGo) {
    Settings settings;
    settings.server_bits_per_second_max = 10'000'000;
    World world(1, settings);
    world.add_server("ds1");
    ScriptedPublisher& publisher = world.new_publisher("a");
    publisher.max_bits_per_second = 8'000'000;
    world.publish(publisher);
    ScriptedConsumer& consumer = world.add_consumer("a");
    world.join(consumer);
    world.leave(consumer);
    world.cut(consumer.session);
    world.pass(20s);
    EXPECT_EQ(world.state.servers.at("ds1").watchers, Watchers{});
    EXPECT_EQ(world.state.servers.at("ds1").flows, 0);
}

}  // namespace
}  // namespace penstock::presence
