#include "presence/sessions.h"

#include "base/protocol.h"
#include "unit/presence/world.h"

#include <gtest/gtest.h>

namespace penstock::presence {
namespace {

TEST(Sessions, HoldAgainstNobodyTheTimeInWhichPresenceDidNotRun) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    world.add_publisher("news");
    world.now += 60s;
    world.take(Tick{});
    EXPECT_TRUE(server.session) << "what it said meanwhile waits to be read";
    EXPECT_EQ(world.count_events(EventKind::server_gone), 0);
    world.pass_silently(1s);
    EXPECT_FALSE(server.session) << "it said nothing";
}

TEST(Sessions, EndWithoutAHelloInFiveSeconds) {
    World world;
    const SessionId session = world.open_session(SessionKind::consumer);
    world.new_consumer("news", 0).session = session;
    world.pass_silently(4'999ms);
    EXPECT_FALSE(world.closed_by_presence.contains(session));
    world.pass_silently(1ms);
    EXPECT_TRUE(world.closed_by_presence.contains(session));
    EXPECT_TRUE(world.consumers.back().rejected.has_value());
    EXPECT_TRUE(world.state.sessions.empty());
    EXPECT_EQ(next_deadline(world.state), kNever);
}

TEST(Sessions, EndAfterThreeSecondsOfSilence) {
    World world;
    const SessionId consumer = world.add_consumer("news", 60'000).session;
    const SessionId publisher = world.add_publisher("sport").session;
    world.pass_silently(2'999ms);
    EXPECT_TRUE(world.closed_by_presence.empty());
    world.pass_silently(1ms);
    EXPECT_TRUE(world.closed_by_presence.contains(consumer));
    EXPECT_TRUE(world.closed_by_presence.contains(publisher));
}

TEST(Sessions, HearAHeartbeatEverySecond) {
    World world;
    const SessionId session = world.open_session(SessionKind::publisher);
    world.new_publisher("news").session = session;
    const MonotonicTime begun = world.now;
    control::PublisherHello hello;
    hello.protocol = kProtocols.newest;
    hello.publisher = PeerId{7};
    hello.stream = "news";
    static_cast<void>(step(world.state, FromPublisher{session, hello}, begun));
    int beats = 0;
    for (auto at = begun; at < begun + 2'900ms; at += 100ms) {
        for (const Action& action : step(world.state, Tick{}, at)) {
            const auto* heartbeats = std::get_if<SendHeartbeats>(&action);
            beats += heartbeats != nullptr && heartbeats->sessions == std::vector{session} ? 1 : 0;
        }
    }
    EXPECT_EQ(beats, 2);
}

TEST(Sessions, OfConsumersHearHeartbeatsTooBeforeAllElseOfTheirTick) {
    World world;
    ScriptedConsumer& consumer = world.new_consumer("news", 1000);
    world.request(consumer);
    ASSERT_TRUE(consumer.session);
    // Its wait is over at the tick of its heartbeat.
    std::vector<Action> actions = step(world.state, Tick{}, world.now + 1s);
    ASSERT_GE(actions.size(), 2);
    const auto* heartbeats = std::get_if<SendHeartbeats>(&actions.front());
    ASSERT_NE(heartbeats, nullptr);
    EXPECT_EQ(heartbeats->sessions, std::vector{consumer.session});
    EXPECT_TRUE(std::holds_alternative<CloseSession>(actions.back()));
}

TEST(Sessions, RejectAFirstMessageThatIsNoHello) {
    World world;
    ScriptedPublisher& publisher = world.new_publisher("news");
    publisher.session = world.open_session(SessionKind::publisher);
    world.take(FromPublisher{publisher.session, control::PublisherReport{}});
    EXPECT_EQ(publisher.rejected->reason, "the first message must say who is calling");
    ScriptedServer& server = world.new_server("ds1");
    server.session = world.open_session(SessionKind::data_server);
    world.take(FromDataServer{server.session, control::LoadReport{}});
    EXPECT_TRUE(server.rejected.has_value());
    ScriptedConsumer& consumer = world.new_consumer("news", 0);
    consumer.session = world.open_session(SessionKind::consumer);
    world.take(FromConsumer{consumer.session, control::Heartbeat{}});
    EXPECT_TRUE(consumer.rejected.has_value());
}

TEST(Sessions, RejectASecondHello) {
    World world;
    ScriptedPublisher& publisher = world.add_publisher("news");
    control::PublisherHello hello;
    hello.protocol = kProtocols.newest;
    hello.publisher = publisher.id;
    hello.stream = "other";
    world.take(FromPublisher{publisher.session, hello});
    EXPECT_EQ(publisher.rejected->reason, "a second hello in one session; open another");
    EXPECT_FALSE(world.stream("news").publisher_session);
    EXPECT_FALSE(world.state.streams.contains(stream_id_of("other")));
}

TEST(Sessions, RejectWhatTheEdgeCouldNotRead) {
    World world;
    ScriptedConsumer& consumer = world.add_consumer("news");
    world.take(Malformed{consumer.session, "a port is 1..65535, not 0"});
    EXPECT_EQ(consumer.rejected->reason, "a port is 1..65535, not 0");
    EXPECT_TRUE(consumer.is_closed);
    EXPECT_EQ(world.state.consumers, 0);
}

TEST(Sessions, IgnoreWhatCrossesTheirEnd) {
    World world;
    ScriptedConsumer& consumer = world.add_consumer("news");
    const SessionId session = consumer.session;
    world.cut(consumer.session);
    const std::uint64_t newest = world.state.events.newest();
    world.take(FromConsumer{session, control::Heartbeat{}});
    world.take(Malformed{session, "x"});
    world.take(SessionClosed{session});
    EXPECT_EQ(world.state.events.newest(), newest);
}

}  // namespace
}  // namespace penstock::presence
