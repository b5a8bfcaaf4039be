#include "presence/find_stream.h"

#include "unit/presence/world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace penstock::presence {
namespace {

using control::AssignmentState;
using control::DesiredState;
using control::StartPolicy;

std::string_view state_of_consumer(const World& world, const std::string& stream) {
    return list_consumers(world.state, stream, world.now)->front().state;
}

TEST(FindStream, TellsAConsumerOfAnUnknownStreamAtOnceThatItIsGone) {
    World world;
    ScriptedConsumer& consumer = world.add_consumer("news", 0);
    ASSERT_EQ(consumer.told.size(), 1);
    EXPECT_EQ(consumer.told[0].state, AssignmentState::gone);
    EXPECT_EQ(consumer.told[0].reason, "news: no publisher offers the stream");
    EXPECT_EQ(consumer.told[0].retry_after_ms, 1'000);
    EXPECT_TRUE(consumer.is_closed);
    EXPECT_TRUE(world.state.streams.empty()) << "asking costs no memory";
}

TEST(FindStream, WaitsAsLongAsTheConsumerWants) {
    World world;
    ScriptedConsumer& consumer = world.add_consumer("news", 2'000);
    world.pass(1'999ms);
    EXPECT_EQ(consumer.state(), AssignmentState::wait);
    EXPECT_EQ(consumer.told.back().reason, "no publisher offers the stream");
    EXPECT_EQ(consumer.told.back().retry_after_ms, 1'000) << "for who would rather not wait";
    EXPECT_FALSE(consumer.is_closed);
    world.pass(1ms);
    EXPECT_EQ(consumer.state(), AssignmentState::gone);
    EXPECT_TRUE(consumer.is_closed);
    EXPECT_EQ(world.count_events(EventKind::consumer_timed_out), 1);
}

TEST(FindStream, WaitsForEverIfTheConsumerWants) {
    World world;
    world.add_server("ds1");
    ScriptedConsumer& consumer =
        world.add_consumer("news", std::numeric_limits<std::uint64_t>::max());
    world.pass(std::chrono::minutes(20));
    EXPECT_EQ(consumer.state(), AssignmentState::wait);
    world.add_publisher("news", StartPolicy::demand);
    EXPECT_EQ(consumer.state(), AssignmentState::ready);
}

TEST(FindStream, TellsAWaitingConsumerWhenThePublisherComes) {
    World world;
    world.add_server("ds1");
    ScriptedConsumer& consumer = world.add_consumer("news", 10'000);
    world.pass(5s);
    world.add_publisher("news");
    ASSERT_EQ(consumer.state(), AssignmentState::ready);
    EXPECT_EQ(consumer.told.back().data_server, "ds1");
    EXPECT_EQ(consumer.told.back().endpoint->port, 20'000);
    EXPECT_EQ(consumer.told.back().keepalive_ms, 5'000);
    EXPECT_TRUE(consumer.told.back().ticket.has_value());
    EXPECT_TRUE(consumer.told.back().session_key.has_value());
    world.pass(60s);
    EXPECT_FALSE(consumer.is_closed) << "its waiting is over";
}

TEST(FindStream, GivesAPresentPublisherTimeToStartEvenIfTheConsumerWillNotWait) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    server.acknowledges = false;
    world.add_publisher("news", StartPolicy::demand);
    ScriptedConsumer& consumer = world.add_consumer("news", 0);
    EXPECT_EQ(consumer.state(), AssignmentState::wait);
    EXPECT_EQ(consumer.told.back().reason, "the stream is starting");
    world.pass(4'999ms);
    EXPECT_FALSE(consumer.is_closed);
    world.pass(1ms);
    EXPECT_EQ(consumer.state(), AssignmentState::gone) << "but not for ever";
}

TEST(FindStream, TellsWhyThereIsNoServer) {
    World world;
    world.add_publisher("news", StartPolicy::demand);
    ScriptedConsumer& consumer = world.add_consumer("news");
    EXPECT_EQ(consumer.told.back().reason, "no data server can take the stream now");
}

TEST(FindStream, ConsumerStatesAreWaitingJoiningReceiving) {
    World world;
    ScriptedConsumer& consumer = world.add_consumer("news");
    EXPECT_EQ(state_of_consumer(world, "news"), "waiting");
    world.add_server("ds1");
    world.add_publisher("news");
    EXPECT_EQ(state_of_consumer(world, "news"), "joining");
    world.join(consumer);
    EXPECT_EQ(state_of_consumer(world, "news"), "receiving");
    world.leave(consumer);
    EXPECT_EQ(state_of_consumer(world, "news"), "joining") << "its lease is over, its wish is not";
    world.cut(consumer.session);
    EXPECT_TRUE(list_consumers(world.state, "news", world.now)->empty());
}

TEST(FindStream, ShowsAFlowWhoseSessionIsLost) {
    World world;
    world.add_server("ds1");
    world.add_publisher("news");
    ScriptedConsumer& consumer = world.add_consumer("news");
    world.join(consumer);
    world.cut(consumer.session);
    EXPECT_EQ(state_of_consumer(world, "news"), "receiving");
    EXPECT_EQ(world.phase("news"), "transmitting") << "a flow watches, too";
}

TEST(FindStream, LogsAConsumersLeavingOnce) {
    World world;
    world.add_server("ds1");
    world.add_publisher("news");
    ScriptedConsumer& joined = world.add_consumer("news");
    world.join(joined);
    world.leave(joined);
    world.cut(joined.session);
    EXPECT_EQ(world.count_events(EventKind::consumer_left), 1);
    ScriptedConsumer& undecided = world.add_consumer("news");
    world.cut(undecided.session);
    EXPECT_EQ(world.count_events(EventKind::consumer_left), 2);
}

TEST(FindStream, RenewsATicketWithANewVersion) {
    World world;
    world.add_server("ds1");
    world.add_publisher("news");
    ScriptedConsumer& consumer = world.add_consumer("news");
    const control::Assignment first = consumer.told.back();
    world.pass(50s);
    world.take(FromConsumer{consumer.session, control::ConsumerRenew{first.version}});
    const control::Assignment second = consumer.told.back();
    EXPECT_EQ(second.state, AssignmentState::ready);
    EXPECT_GT(second.version, first.version);
    EXPECT_GT(ticket_in(second.ticket).not_after_ms, ticket_in(first.ticket).not_after_ms);
    const std::size_t told = consumer.told.size();
    world.take(FromConsumer{consumer.session, control::ConsumerRenew{first.version}});
    EXPECT_EQ(consumer.told.size(), told) << "a newer one is on its way";
}

TEST(FindStream, NewSessionOfTheSameConsumerReplacesTheOld) {
    World world;
    world.add_server("ds1");
    world.add_publisher("news");
    ScriptedConsumer& consumer = world.add_consumer("news");
    const SessionId old = consumer.session;
    world.request(consumer);
    EXPECT_TRUE(world.closed_by_presence.contains(old));
    EXPECT_EQ(list_streams(world.state, "news")->front().requests, 1);
}

TEST(FindStream, TellsConsumersWhenThePublisherIsGone) {
    World world;
    world.add_server("ds1");
    ScriptedPublisher& publisher = world.add_publisher("news");
    ScriptedConsumer& patient = world.add_consumer("news", 60'000);
    ScriptedConsumer& impatient = world.add_consumer("news", 0);
    world.join(patient);
    world.join(impatient);
    world.cut(publisher.session);
    world.pass(2'999ms);
    EXPECT_EQ(patient.state(), AssignmentState::ready) << "it may come back";
    world.pass(1ms);
    EXPECT_EQ(patient.state(), AssignmentState::wait);
    EXPECT_EQ(impatient.state(), AssignmentState::gone);
    EXPECT_EQ(world.phase("news"), "gone");
    EXPECT_TRUE(world.server("ds1").open.empty());
    world.add_publisher("news");
    EXPECT_EQ(patient.state(), AssignmentState::ready);
}

TEST(FindStream, RejectsConsumersBeyondTheBound) {
    Settings settings;
    settings.consumers_max = 1;
    World world(1, settings);
    world.add_consumer("news");
    EXPECT_EQ(world.add_consumer("news").rejected->reason, "there are 1 consumers already");
}

TEST(FindStream, CountsTheConsumersOfALongReportOnce) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    world.add_publisher("news");
    control::StreamReport report;
    report.stream = stream_id_of("news");
    report.name = "news";
    report.endpoint = server.open[report.stream].endpoint;
    report.publisher = world.publishers.back().id;
    for (std::uint64_t i = 0; i < control::kFlowsMax; ++i) {
        control::ConsumerFlow flow;
        flow.consumer = PeerId{i + 1};
        report.consumers.push_back(flow);
    }
    world.take(FromDataServer{server.session, report});
    control::StreamReport rest = report;
    rest.continued = true;
    rest.consumers.resize(10);
    for (std::uint64_t i = 0; i < rest.consumers.size(); ++i) {
        rest.consumers[i].consumer = PeerId{100'000 + i};
    }
    world.take(FromDataServer{server.session, rest});
    EXPECT_EQ(list_streams(world.state, "news")->front().consumers, control::kFlowsMax + 10);
    EXPECT_EQ(world.count_events(EventKind::consumer_joined), control::kFlowsMax + 10);
    report.consumers.clear();
    world.take(FromDataServer{server.session, report});
    EXPECT_EQ(list_streams(world.state, "news")->front().consumers, 0);
    EXPECT_EQ(world.count_events(EventKind::consumer_left), control::kFlowsMax + 10);
}

TEST(FindStream, ForgetsAStreamNobodyWantsAfterAMinute) {
    World world;
    ScriptedConsumer& consumer = world.add_consumer("news", 60'000);
    world.cut(consumer.session);
    world.pass(59'999ms);
    EXPECT_EQ(world.phase("news"), "gone");
    world.pass(1ms);
    EXPECT_TRUE(world.state.streams.empty());
    EXPECT_EQ(next_deadline(world.state), kNever);
}

}  // namespace
}  // namespace penstock::presence
