#include "presence/attach.h"

#include "unit/presence/world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace penstock::presence {
namespace {

using control::AssignmentState;
using control::DesiredState;
using testing::HasSubstr;

/// A stream that ran under a presence which is no more.
void open_before(ScriptedServer& server, const std::string& name, PeerId publisher) {
    OpenStream& open = server.open[stream_id_of(name)];
    open.desired = {stream_id_of(name), name, publisher, 0};
    open.endpoint = {IpAddress::v4(0x0a5b0031U), 25'000};
    open.publisher = publisher;
    server.epoch_seen = 90;
    server.generation = 7;
}

TEST(Attach, WelcomesWithEpochIntervalAndAKeyOfItsOwn) {
    World world;
    ScriptedServer& first = world.add_server("ds1");
    ScriptedServer& second = world.add_server("ds2");
    ASSERT_TRUE(first.welcome.has_value());
    EXPECT_EQ(first.welcome->epoch, 100);
    EXPECT_EQ(first.welcome->load_interval_ms, 100);
    EXPECT_EQ(first.welcome->ticket_key_id, 1);
    EXPECT_NE(first.welcome->ticket_key, second.welcome->ticket_key);
    EXPECT_EQ(first.welcome->ticket_key,
              derive_ticket_key(world.state.facts.master_key, "ds1", first.boot_id, 1).bytes);
}

TEST(Attach, SendsNoSetBeforeAllStreamsAreReported) {
    World world;
    world.add_publisher("news");
    ScriptedServer& server = world.new_server("ds1");
    world.say_hello(server);
    world.report_load(server);
    EXPECT_TRUE(server.sets.empty());
    EXPECT_EQ(list_servers(world.state, "ds1", world.now)->front().streams, 0);
    world.report_streams(server);
    ASSERT_GE(server.sets.size(), 1);
    EXPECT_EQ(server.sets.front().base_generation, 0) << "the first is a full one";
}

TEST(Attach, RejectsAnotherServerOfTheSameNameWhileTheFirstLives) {
    World world;
    ScriptedServer& first = world.add_server("ds1");
    ScriptedServer& impostor = world.add_server("ds1");
    EXPECT_TRUE(impostor.rejected.has_value());
    EXPECT_FALSE(impostor.session);
    EXPECT_TRUE(first.session);
    world.cut(first.session);
    world.attach(impostor);
    EXPECT_TRUE(impostor.session) << "the first is gone";
}

TEST(Attach, QuarantinesANameThatTwoProcessesTakeTurnsWith) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    const std::uint64_t first = server.boot_id;
    for (int turn = 0; turn < 5; ++turn) {
        EXPECT_EQ(list_servers(world.state, "ds1", world.now)->front().state, "attached");
        world.pass(5s);
        world.cut(server.session);
        server.boot_id = turn % 2 == 0 ? first + 2 : first;
        world.attach(server);
    }
    EXPECT_TRUE(server.session) << "it may be heard, and carry what it has";
    EXPECT_EQ(list_servers(world.state, "ds1", world.now)->front().state, "quarantined");
    EXPECT_EQ(world.count_events(EventKind::quarantined), 1);
    ScriptedPublisher& publisher = world.add_publisher("news");
    EXPECT_EQ(publisher.told.back().state, DesiredState::wait);
    EXPECT_THAT(explain(world.state, "news", world.now)->reason, HasSubstr("in quarantine"));
    world.pass(59'900ms);
    EXPECT_EQ(publisher.told.back().state, DesiredState::wait);
    world.pass(200ms);
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
}

TEST(Attach, QuarantinesNoDataServerThatIsOnlyStartedAgain) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    for (int times = 0; times < 20; ++times) {
        world.cut(server.session);
        server.boot_id += 2;
        world.attach(server);
    }
    EXPECT_EQ(list_servers(world.state, "ds1", world.now)->front().state, "attached");
}

TEST(Attach, QuarantinesNoDataServerThatOnlyComesBack) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    for (int times = 0; times < 10; ++times) {
        world.cut(server.session);
        world.attach(server);
    }
    EXPECT_EQ(list_servers(world.state, "ds1", world.now)->front().state, "attached");
}

TEST(Attach, OutrunsTheEpochOfEveryPresenceBeforeIt) {
    World world;
    ScriptedServer& server = world.new_server("ds1");
    server.epoch_seen = 500;
    world.attach(server);
    EXPECT_EQ(server.welcome->epoch, 501);
    world.cut(server.session);
    world.attach(server);
    EXPECT_EQ(server.welcome->epoch, 501) << "that epoch is ours";
}

TEST(Attach, RefusesAServerWhoseEpochIsAbsurdAndGoesOn) {
    World world;
    ScriptedServer& server = world.new_server("ds1");
    const std::uint64_t believed = 100 + (1ULL << 32U);
    server.epoch_seen = believed + 1;
    world.attach(server);
    EXPECT_FALSE(server.session);
    EXPECT_FALSE(server.welcome.has_value());
    EXPECT_THAT(server.rejected->reason, HasSubstr("restart this data server"));
    EXPECT_GT(server.rejected->retry_after_ms, 0) << "0 would be for good";
    EXPECT_EQ(world.state.wanted, world.state.facts) << "nothing is raised";
    EXPECT_TRUE(world.stored.empty());
    server.epoch_seen = believed;
    world.attach(server);
    EXPECT_EQ(server.welcome->epoch, believed + 1);
}

TEST(Attach, RaisesItsEpochToTheLastOneAtMost) {
    World world;
    world.state.facts.epoch = control::kEpochMax - 1;
    world.state.wanted = world.state.facts;
    ScriptedServer& server = world.new_server("ds1");
    server.epoch_seen = control::kEpochMax;
    world.attach(server);
    EXPECT_EQ(world.state.facts.epoch, control::kEpochMax) << "what no store would give back";
    EXPECT_FALSE(server.session);
}

TEST(Attach, TakesASilentServerForGoneAfterOneSecond) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    server.reports_load = false;
    world.pass(999ms);
    EXPECT_TRUE(server.session);
    world.pass(1ms);
    EXPECT_FALSE(server.session);
    EXPECT_EQ(world.count_events(EventKind::server_gone), 1);
    EXPECT_EQ(list_servers(world.state, "ds1", world.now)->front().state, "gone");
}

TEST(Attach, RefusesAUtilisationThatIsNoNumberAndSaysSoOnce) {
    for (const double utilisation : {std::numeric_limits<double>::quiet_NaN(),
                                     std::numeric_limits<double>::infinity(),
                                     -0.1}) {
        World world;
        ScriptedServer& server = world.add_server("ds1");
        server.utilisation = utilisation;
        world.pass(500ms);
        EXPECT_EQ(world.count_events(EventKind::load_refused), 1);
        EXPECT_EQ(list_servers(world.state, "ds1", world.now)->front().state, "stale");
        EXPECT_EQ(world.add_publisher("news").told.back().state, DesiredState::wait);
        EXPECT_TRUE(server.session) << "it lives, it only cannot be chosen";
    }
}

TEST(Attach, CountsAUtilisationAboveOneAsOne) {
    World world;
    world.add_server("ds1", 7.0);
    EXPECT_EQ(list_servers(world.state, "ds1", world.now)->front().load->utilisation, 1.0);
}

TEST(Attach, AssignsTheStreamsOfALostServerAfresh) {
    World world;
    world.add_server("ds1", 0.1);
    world.add_server("ds2", 0.2);
    ScriptedPublisher& publisher = world.add_publisher("news");
    ScriptedConsumer& consumer = world.add_consumer("news");
    world.join(consumer);
    ASSERT_EQ(publisher.told.back().data_server, "ds1");
    world.cut(world.server("ds1").session);
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
    EXPECT_EQ(publisher.told.back().data_server, "ds2");
    EXPECT_EQ(consumer.told.back().state, AssignmentState::ready);
    EXPECT_EQ(consumer.told.back().data_server, "ds2");
    EXPECT_EQ(consumer.told.size(), 2) << "READY anew, without a WAIT between";
    EXPECT_EQ(world.stream("news").decided_for, "loss of data server ds1");
}

/// The publisher says that its data server does not answer.
void report_trouble(World& world, const ScriptedPublisher& publisher) {
    const control::PublisherDesired& told = publisher.told.back();
    control::PublisherReport report;
    report.version = told.version;
    report.state = told.state;
    report.transmitting = true;
    report.trouble = "data server does not answer";
    world.take(FromPublisher{publisher.session, report});
}

TEST(Attach, StopsTheStreamOfALostServerIfNoOtherComesInTime) {
    World world;
    world.add_server("ds1");
    ScriptedPublisher& publisher = world.add_publisher("news");
    ScriptedConsumer& consumer = world.add_consumer("news", 60'000);
    world.cut(world.server("ds1").session);
    report_trouble(world, publisher);
    world.pass(2'999ms);
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
    EXPECT_EQ(consumer.state(), AssignmentState::ready);
    world.pass(1ms);
    EXPECT_EQ(publisher.told.back().state, DesiredState::wait);
    EXPECT_EQ(consumer.state(), AssignmentState::wait);
    EXPECT_EQ(consumer.told.back().reason, "no data server can take the stream now");
    ScriptedServer& second = world.add_server("ds2");
    EXPECT_EQ(consumer.told.back().data_server, second.name);
}

TEST(Attach, LeavesAStreamAloneWhoseServerOnlyWeHaveLost) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    ScriptedPublisher& publisher = world.add_publisher("news");
    ScriptedConsumer& consumer = world.add_consumer("news", 60'000);
    world.join(consumer);
    const std::size_t told_publisher = publisher.told.size();
    world.cut(server.session);
    world.pass(60s);
    EXPECT_EQ(publisher.told.size(), told_publisher) << "it says that its datagrams get through";
    EXPECT_EQ(consumer.state(), AssignmentState::ready);
    world.attach(server);
    EXPECT_EQ(publisher.told.size(), told_publisher) << "nobody is troubled";
    EXPECT_TRUE(server.open.contains(stream_id_of("news")));
    world.cut(server.session);
    world.pass(10s);
    report_trouble(world, publisher);
    EXPECT_EQ(publisher.told.back().state, DesiredState::wait) << "now it does not";
    EXPECT_EQ(consumer.state(), AssignmentState::wait);
}

TEST(Attach, StopsNoStreamBecauseItLostServerAndConsumersAtOnce) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    ScriptedPublisher& publisher = world.add_publisher("news");
    ScriptedConsumer& consumer = world.add_consumer("news", 60'000);
    world.join(consumer);
    const std::size_t told_publisher = publisher.told.size();
    world.cut(consumer.session);
    world.cut(server.session);
    world.pass(2'900ms);
    EXPECT_EQ(publisher.told.size(), told_publisher) << "who watches is not known, not nobody";
    world.attach(server);
    EXPECT_EQ(publisher.told.size(), told_publisher);
    EXPECT_TRUE(server.open.contains(stream_id_of("news")));
    world.leave(consumer);
    world.cut(server.session);
    world.pass(3s);
    EXPECT_EQ(publisher.told.back().state, DesiredState::wait) << "now nobody watches";
}

TEST(Attach, SameProcessBackInTimeFindsItsStreamsWhereTheyWere) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    ScriptedPublisher& publisher = world.add_publisher("news");
    ScriptedConsumer& consumer = world.add_consumer("news");
    world.join(consumer);
    const std::size_t told_publisher = publisher.told.size();
    world.cut(server.session);
    world.pass(1s);
    world.attach(server);
    EXPECT_EQ(publisher.told.size(), told_publisher) << "nobody is troubled";
    EXPECT_EQ(consumer.told.size(), 1);
    EXPECT_TRUE(server.open.contains(stream_id_of("news")));
    world.pass(30s);
    EXPECT_EQ(world.phase("news"), "transmitting");
}

TEST(Attach, NewSessionOfTheSameProcessIsComparedAndSentTheFullSet) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    world.add_publisher("news");
    world.add_consumer("news");
    const SessionId old = server.session;
    world.attach(server);
    EXPECT_TRUE(world.closed_by_presence.contains(old));
    EXPECT_EQ(server.sets.back().base_generation, 0);
    ASSERT_EQ(server.sets.back().open.size(), 1);
    EXPECT_EQ(server.sets.back().open[0].name, "news");
    EXPECT_EQ(world.count_events(EventKind::server_gone), 0);
    EXPECT_EQ(world.phase("news"), "transmitting");
}

TEST(Attach, SameProcessThatLostAStreamOpensItAgain) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    ScriptedPublisher& publisher = world.add_publisher("news");
    ScriptedConsumer& consumer = world.add_consumer("news");
    const std::uint64_t version = publisher.told.back().version;
    server.open.clear();
    world.attach(server);
    EXPECT_TRUE(server.open.contains(stream_id_of("news")));
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
    EXPECT_GT(publisher.told.back().version, version);
    EXPECT_EQ(consumer.told.back().endpoint, publisher.told.back().endpoint);
}

TEST(Attach, NewProcessOfTheSameNameGetsItsStreamsAfresh) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    ScriptedPublisher& publisher = world.add_publisher("news");
    world.add_consumer("news");
    const std::uint64_t version = publisher.told.back().version;
    world.cut(server.session);
    server.boot_id += 2;
    server.open.clear();
    server.generation = 0;
    server.epoch_seen = 0;
    world.attach(server);
    EXPECT_TRUE(server.open.contains(stream_id_of("news")));
    EXPECT_GT(publisher.told.back().version, version);
    EXPECT_EQ(ticket_in(publisher.told.back().ticket).nonce.raw() != 0, true);
}

TEST(Attach, AdoptsUnknownStreamsWhereTheyAre) {
    World world;
    ScriptedPublisher& publisher = world.new_publisher("news");
    world.add_server("ds2", 0.0);
    ScriptedServer& server = world.new_server("ds1");
    open_before(server, "news", publisher.id);
    world.attach(server);
    EXPECT_EQ(world.count_events(EventKind::adopted), 1);
    EXPECT_TRUE(server.open.contains(stream_id_of("news"))) << "the full set keeps it";
    world.pass(14s);
    world.publish(publisher);
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
    EXPECT_EQ(publisher.told.back().data_server, "ds1") << "although ds2 is less busy";
    EXPECT_EQ(publisher.told.back().endpoint->port, 25'000);
    EXPECT_EQ(world.add_consumer("news").told.back().endpoint->port, 25'000);
}

TEST(Attach, AdoptsAStreamWithoutPublisherForTheNextOne) {
    World world;
    ScriptedServer& server = world.new_server("ds1");
    open_before(server, "news", PeerId{});
    world.attach(server);
    ScriptedPublisher& publisher = world.add_publisher("news");
    EXPECT_EQ(publisher.told.back().endpoint->port, 25'000);
    world.pass(5s);
    EXPECT_EQ(publisher.told.back().state, DesiredState::wait)
        << "its one start without a consumer is used up";
}

TEST(Attach, ClosesAnAdoptedStreamThatNobodyClaims) {
    World world;
    ScriptedServer& server = world.new_server("ds1");
    open_before(server, "news", PeerId{77});
    world.attach(server);
    world.pass(14'999ms);
    EXPECT_TRUE(server.open.contains(stream_id_of("news")));
    world.pass(1ms);
    EXPECT_FALSE(server.open.contains(stream_id_of("news")));
    EXPECT_EQ(world.phase("news"), "gone");
}

TEST(Attach, RestartedPresenceLetsAPublisherGoOnUntilItKnowsMore) {
    World world;
    world.state.started_at = world.now;
    ScriptedPublisher& publisher = world.add_publisher("news");
    ScriptedConsumer& consumer = world.add_consumer("news", 0);
    EXPECT_TRUE(publisher.told.empty()) << "a WAIT would stop a publisher that transmits";
    EXPECT_EQ(consumer.state(), AssignmentState::wait) << "not GONE: nobody knows yet";
    ScriptedServer& idle = world.new_server("ds2");
    idle.utilisation = 0.0;
    idle.epoch_seen = 90;
    world.attach(idle);
    EXPECT_TRUE(publisher.told.empty()) << "the server that has it may still come";
    ScriptedServer& server = world.new_server("ds1");
    open_before(server, "news", publisher.id);
    world.attach(server);
    EXPECT_TRUE(publisher.told.empty()) << "it transmits where it should";
    EXPECT_EQ(consumer.told.back().endpoint->port, 25'000);
    world.pass(3s);
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
    EXPECT_EQ(publisher.told.back().endpoint->port, 25'000);
}

TEST(Attach, RestartedPresenceGivesAStreamBackToWhoTransmits) {
    World world;
    world.state.started_at = world.now;
    ScriptedPublisher& rival = world.add_publisher("news");
    ScriptedServer& server = world.new_server("ds1");
    open_before(server, "news", PeerId{77});
    world.attach(server);
    EXPECT_TRUE(rival.rejected.has_value()) << "it was only the first to come back";
    EXPECT_TRUE(server.open.contains(stream_id_of("news")));
    ScriptedPublisher& publisher = world.new_publisher("news");
    publisher.id = PeerId{77};
    world.publish(publisher);
    world.pass(3s);
    ASSERT_FALSE(publisher.told.empty());
    EXPECT_EQ(publisher.told.back().endpoint->port, 25'000);
}

TEST(Attach, RivalWaitsFiveSecondsForAPublisherThatDoesNotComeBack) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    world.cut(server.session);
    open_before(server, "news", PeerId{77});
    world.attach(server);
    ScriptedPublisher& rival = world.add_publisher("news");
    EXPECT_TRUE(rival.rejected.has_value());
    world.pass(4'999ms);
    world.publish(rival);
    EXPECT_TRUE(rival.told.empty());
    world.pass(1ms);
    world.publish(rival);
    ASSERT_FALSE(rival.told.empty());
    EXPECT_EQ(rival.told.back().state, DesiredState::start);
}

TEST(Attach, RestartedPresenceGoesOnWhereMostConsumersAre) {
    World world;
    world.state.started_at = world.now;
    const StreamId news = stream_id_of("news");
    ScriptedPublisher& publisher = world.add_publisher("news");
    ScriptedServer& left = world.new_server("ds1");
    open_before(left, "news", publisher.id);
    world.attach(left);
    ScriptedServer& server = world.new_server("ds2");
    open_before(server, "news", publisher.id);
    server.open[news].endpoint.port = 26'000;
    server.open[news].flows[PeerId{5}].consumer = PeerId{5};
    world.attach(server);
    EXPECT_TRUE(server.open.contains(news));
    EXPECT_TRUE(left.open.contains(news)) << "nothing is closed before presence has settled";
    EXPECT_EQ(world.add_consumer("news").told.back().endpoint->port, 26'000);
    world.pass(3s);
    ASSERT_EQ(publisher.told.size(), 1);
    EXPECT_EQ(publisher.told.back().endpoint->port, 26'000);
    EXPECT_TRUE(server.open.contains(news));
    EXPECT_FALSE(left.open.contains(news));
}

TEST(Attach, RestartedPresenceClosesWhatNobodyPublishesOnlyWhenItHasSettled) {
    World world;
    world.state.started_at = world.now;
    ScriptedServer& server = world.new_server("ds1");
    open_before(server, "news", PeerId{});
    world.attach(server);
    world.pass(2'999ms);
    EXPECT_TRUE(server.open.contains(stream_id_of("news")));
    world.pass(1ms);
    EXPECT_FALSE(server.open.contains(stream_id_of("news")));
}

TEST(Attach, RestartedPresenceStopsNobodyBeforeConsumersCanBeBack) {
    World world;
    world.state.started_at = world.now;
    ScriptedPublisher& publisher = world.add_publisher("news");
    ScriptedServer& server = world.new_server("ds1");
    open_before(server, "news", publisher.id);
    world.attach(server);
    world.cut(server.session);
    world.pass(2'999ms);
    EXPECT_TRUE(publisher.told.empty());
    world.pass(1ms);
    ASSERT_FALSE(publisher.told.empty());
    EXPECT_EQ(publisher.told.front().state, DesiredState::stop);
}

TEST(Attach, PublisherOfAnAdoptedStreamThatWasLostAgainIsNotToldToWait) {
    World world;
    ScriptedServer& server = world.new_server("ds1");
    ScriptedPublisher& publisher = world.new_publisher("news");
    open_before(server, "news", publisher.id);
    world.attach(server);
    world.add_consumer("news");
    world.cut(server.session);
    world.publish(publisher);
    EXPECT_TRUE(publisher.told.empty()) << "it transmits, and its data server relays on";
    world.pass(1s);
    world.attach(server);
    ASSERT_EQ(publisher.told.size(), 1);
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
}

TEST(Attach, FreshSystemDoesNotWaitToSettle) {
    World world;
    world.state.started_at = world.now;
    ScriptedPublisher& publisher = world.add_publisher("news");
    world.add_server("ds1");
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
}

TEST(Attach, SettledPresenceTellsWhoWaitedForAServer) {
    World world;
    world.state.started_at = world.now;
    ScriptedPublisher& publisher = world.add_publisher("news", control::StartPolicy::demand);
    world.pass(3s);
    EXPECT_EQ(publisher.told.back().state, DesiredState::wait);
}

TEST(Attach, RejectsAReportWhoseIdIsNotThatOfItsName) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    control::StreamReport report;
    report.name = "news";
    report.stream = StreamId{1};
    world.take(FromDataServer{server.session, report});
    EXPECT_TRUE(server.rejected.has_value());
    EXPECT_FALSE(server.session);
}

TEST(Attach, ForgetsGoneServersToMakeRoom) {
    Settings settings;
    settings.data_servers_max = 2;
    World world(1, settings);
    ScriptedServer& first = world.add_server("ds1");
    world.add_server("ds2");
    EXPECT_TRUE(world.add_server("ds3").rejected.has_value());
    world.cut(first.session);
    EXPECT_TRUE(world.add_server("ds4").session);
    EXPECT_EQ(world.state.servers.size(), 2);
}

}  // namespace
}  // namespace penstock::presence
