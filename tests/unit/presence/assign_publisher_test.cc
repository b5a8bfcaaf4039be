#include "presence/assign_publisher.h"

#include "unit/presence/world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace penstock::presence {
namespace {

using control::DesiredState;
using control::StartPolicy;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(AssignPublisher, StartsAPublisherAtOnceWithoutAnyConsumer) {
    World world;
    world.add_server("ds1");
    const ScriptedPublisher& publisher = world.add_publisher("news");
    ASSERT_EQ(publisher.told.size(), 2);
    EXPECT_EQ(publisher.told[0].state, DesiredState::wait);
    EXPECT_EQ(publisher.told[1].state, DesiredState::start);
    EXPECT_EQ(publisher.told[1].data_server, "ds1");
    EXPECT_EQ(publisher.told[1].endpoint->port, 20'000);
    EXPECT_LT(publisher.told[0].version, publisher.told[1].version);
}

TEST(AssignPublisher, LetsADemandPublisherWaitForItsFirstConsumer) {
    World world;
    world.add_server("ds1");
    ScriptedPublisher& publisher = world.add_publisher("news", StartPolicy::demand);
    world.pass(60s);
    EXPECT_EQ(world.phase("news"), "waiting");
    ASSERT_EQ(publisher.told.size(), 1);
    EXPECT_EQ(publisher.told[0].state, DesiredState::wait);
    world.add_consumer("news");
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
}

TEST(AssignPublisher, HandsOutEachServerOnceWithinTheRecentPeriod) {
    World world;
    world.add_server("ds1", 0.10);
    world.add_server("ds2", 0.20);
    world.add_server("ds3", 0.30);
    std::vector<std::string> chosen;
    for (const char* name : {"a", "b", "c", "d"}) {
        chosen.push_back(world.add_publisher(name).told.back().data_server);
        world.pass(1s);
    }
    EXPECT_THAT(chosen, ElementsAre("ds1", "ds2", "ds3", "ds1"))
        << "the fourth finds all recent: the lowest projected";
    world.pass(10s);
    EXPECT_EQ(world.add_publisher("e").told.back().data_server, "ds1");
}

TEST(AssignPublisher, CountsHandOutsTheReportCannotShowYet) {
    Settings settings;
    settings.recent_period = 0s;
    settings.reserve = 0.2;
    World world(1, settings);
    world.add_server("ds1", 0.10);
    world.add_server("ds2", 0.25);
    EXPECT_EQ(world.add_publisher("a").told.back().data_server, "ds1");
    EXPECT_EQ(world.add_publisher("b").told.back().data_server, "ds2") << "0.30 against 0.25";
    world.pass(200ms);
    EXPECT_EQ(world.add_publisher("c").told.back().data_server, "ds1") << "reports replace it";
}

TEST(AssignPublisher, KeepsAReservationUntilReportsCanShowTheStreamForAWholeInterval) {
    Settings settings;
    settings.recent_period = 0s;
    settings.reserve = 0.2;
    World world(1, settings);
    ScriptedServer& server = world.add_server("ds1", 0.10);
    ScriptedPublisher& publisher = world.new_publisher("a");
    publisher.transmits = false;
    world.publish(publisher);
    const auto projected = [&] {
        return list_servers(world.state, "ds1", world.now)->front().projected;
    };
    world.pass(2s);
    EXPECT_NEAR(projected(), 0.30, 1e-9) << "no content was reported yet";
    publisher.transmits = true;
    world.acknowledge(publisher, publisher.told.back());
    world.report_load(server);
    EXPECT_NEAR(projected(), 0.30, 1e-9) << "content came within the interval of this report";
    world.report_load(server);
    EXPECT_NEAR(projected(), 0.10, 1e-9);
}

TEST(AssignPublisher, GivesAReservationUpForAStreamWhoseContentNeverComes) {
    Settings settings;
    settings.reserve = 0.2;
    World world(1, settings);
    world.add_server("ds1", 0.10);
    ScriptedPublisher& publisher = world.new_publisher("a");
    publisher.transmits = false;
    publisher.close_after_ms = 60'000;
    world.publish(publisher);
    world.pass(9'900ms);
    EXPECT_NEAR(list_servers(world.state, "ds1", world.now)->front().projected, 0.30, 1e-9);
    world.pass(200ms);
    EXPECT_NEAR(list_servers(world.state, "ds1", world.now)->front().projected, 0.10, 1e-9);
}

TEST(AssignPublisher, TakesAServerThatWasSilentOnlyAfterTwoSecondsOfReports) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    server.reports_load = false;
    world.pass(400ms);
    server.reports_load = true;
    world.pass(100ms);
    ScriptedPublisher& publisher = world.add_publisher("news");
    EXPECT_EQ(publisher.told.back().state, DesiredState::wait);
    EXPECT_THAT(world.stream("news").decision.reason, HasSubstr("has to report for 2s"));
    world.pass(1'900ms);
    EXPECT_EQ(publisher.told.back().state, DesiredState::wait);
    world.pass(200ms);
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
}

TEST(AssignPublisher, ReservesADeclaredRateOfTheSmallestLink) {
    Settings settings;
    settings.recent_period = 0s;
    World world(1, settings);
    world.add_server("ds1", 0.10);
    world.add_server("ds2", 0.25);
    ScriptedPublisher& heavy = world.new_publisher("a");
    heavy.max_bits_per_second = 2'000'000'000;  // of 10 Gbit
    world.publish(heavy);
    EXPECT_NEAR(list_servers(world.state, "ds1", world.now)->front().projected, 0.30, 1e-9);
}

TEST(AssignPublisher, TellsNobodyToStartWithoutAServerAndStartsWhenOneCan) {
    World world;
    ScriptedPublisher& publisher = world.add_publisher("news");
    EXPECT_EQ(publisher.told.back().state, DesiredState::wait);
    EXPECT_EQ(world.stream("news").decision.reason, "no data server is attached");
    world.add_server("ds1", 0.95);
    EXPECT_EQ(publisher.told.back().state, DesiredState::wait);
    world.server("ds1").utilisation = 0.2;
    world.pass(100ms);
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
    EXPECT_EQ(world.count_events(EventKind::unassigned), 1) << "said once, not with every report";
}

TEST(AssignPublisher, TakesNoServerWhoseReportIsTooOld) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    server.reports_load = false;
    world.pass(300ms);
    ScriptedPublisher& publisher = world.add_publisher("news");
    EXPECT_EQ(publisher.told.back().state, DesiredState::wait);
    EXPECT_THAT(world.stream("news").decision.reason, HasSubstr("300 ms old"));
}

TEST(AssignPublisher, RejectsASecondPublisherWhileTheFirstLives) {
    World world;
    world.add_server("ds1");
    ScriptedPublisher& first = world.add_publisher("news");
    ScriptedPublisher& second = world.add_publisher("news");
    ASSERT_TRUE(second.rejected.has_value());
    EXPECT_EQ(second.rejected->reason, "the stream news has another publisher");
    EXPECT_GT(second.rejected->retry_after_ms, 0);
    EXPECT_FALSE(second.session);
    EXPECT_TRUE(first.session);
    world.cut(first.session);
    world.pass(2'999ms);
    world.publish(second);
    EXPECT_TRUE(second.told.empty()) << "the first may still come back";
    world.pass(1ms);
    world.publish(second);
    EXPECT_EQ(second.told.back().state, DesiredState::start);
}

TEST(AssignPublisher, ContinuesAPublisherThatComesBackInTime) {
    World world;
    world.add_server("ds1");
    ScriptedPublisher& publisher = world.add_publisher("news");
    ScriptedConsumer& consumer = world.add_consumer("news");
    world.join(consumer);
    const std::uint64_t version = publisher.told.back().version;
    world.cut(publisher.session);
    world.pass(2'900ms);
    world.publish(publisher);
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
    EXPECT_EQ(publisher.told.back().version, version) << "nothing has changed";
    EXPECT_EQ(consumer.told.size(), 1) << "and nobody else is troubled";
    world.pass(60s);
    EXPECT_EQ(world.phase("news"), "transmitting");
    EXPECT_EQ(world.count_events(EventKind::publisher_gone), 0);
}

TEST(AssignPublisher, NewSessionOfTheSamePublisherReplacesTheOld) {
    World world;
    world.add_server("ds1");
    ScriptedPublisher& publisher = world.add_publisher("news");
    const SessionId old = publisher.session;
    world.publish(publisher);
    EXPECT_TRUE(world.closed_by_presence.contains(old));
    EXPECT_FALSE(world.closed_by_presence.contains(publisher.session));
    world.pass(10s);
    EXPECT_EQ(world.phase("news"), "waiting") << "stopped for want of consumers, not gone";
}

TEST(AssignPublisher, RejectsAProtocolItDoesNotSpeak) {
    World world;
    const SessionId session = world.open_session(SessionKind::publisher);
    world.new_publisher("news").session = session;
    control::PublisherHello hello;
    hello.protocol = 2;
    hello.publisher = PeerId{7};
    hello.stream = "news";
    world.take(FromPublisher{session, hello});
    EXPECT_EQ(world.publishers.back().rejected->reason,
              "protocol 2 to 2 is not spoken here, only 1 to 1: upgrade the older");
    EXPECT_TRUE(world.state.streams.empty());
}

TEST(AssignPublisher, TakesWhoSpeaksANewerProtocolAndOursToo) {
    World world;
    const SessionId session = world.open_session(SessionKind::publisher);
    ScriptedPublisher& publisher = world.new_publisher("news");
    publisher.session = session;
    control::PublisherHello hello;
    hello.protocol = 2;
    hello.protocol_oldest = 1;
    hello.publisher = publisher.id;
    hello.stream = "news";
    world.take(FromPublisher{session, hello});
    EXPECT_FALSE(publisher.rejected.has_value());
    EXPECT_EQ(publisher.told.back().state, DesiredState::wait);
}

TEST(AssignPublisher, RejectsStreamsBeyondTheBound) {
    Settings settings;
    settings.streams_max = 2;
    World world(1, settings);
    world.add_publisher("a");
    world.add_publisher("b");
    EXPECT_EQ(world.add_publisher("c").rejected->reason, "there are 2 streams already");
    EXPECT_EQ(world.add_consumer("d").rejected->reason, "there are 2 streams already");
    EXPECT_EQ(world.state.streams.size(), 2);
}

TEST(AssignPublisher, GivesNoServerMoreStreamsThanItTakes) {
    World world;
    ScriptedServer& server = world.new_server("ds1");
    server.streams_max = 1;
    world.attach(server);
    world.add_publisher("a");
    ScriptedPublisher& second = world.add_publisher("b");
    EXPECT_EQ(second.told.back().state, DesiredState::wait);
    EXPECT_THAT(world.stream("b").decision.reason, HasSubstr("it has 1 streams and takes no more"));
}

TEST(AssignPublisher, ExplainsTheDecision) {
    World world;
    world.add_server("ds1", 0.10);
    world.add_server("ds2", 0.20);
    world.add_publisher("a");
    world.pass(2s);
    world.add_publisher("b");
    world.pass(1s);
    const auto explanation = explain(world.state, "b", world.now);
    ASSERT_TRUE(explanation.ok());
    EXPECT_EQ(explanation->chosen, "ds2");
    EXPECT_EQ(explanation->trigger, "publish request");
    EXPECT_EQ(explanation->decided_ms_ago, 1000);
    EXPECT_EQ(explanation->recent_period_ms, 10'000);
    ASSERT_EQ(explanation->candidates.size(), 2);
    EXPECT_EQ(explanation->candidates[0].server, "ds1");
    EXPECT_EQ(explanation->candidates[0].handed_out_ms_ago, 2000);
    EXPECT_TRUE(explanation->candidates[1].chosen);
}

}  // namespace
}  // namespace penstock::presence
