#include "presence/open_stream.h"

#include "unit/presence/world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace penstock::presence {
namespace {

using control::AssignmentState;
using control::DesiredState;
using testing::HasSubstr;

TEST(OpenStream, SaysNothingToAnybodyBeforeTheServerHasAcknowledged) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    server.acknowledges = false;
    ScriptedPublisher& publisher = world.add_publisher("news");
    ScriptedConsumer& consumer = world.add_consumer("news");
    EXPECT_EQ(publisher.told.back().state, DesiredState::wait);
    EXPECT_EQ(consumer.state(), AssignmentState::wait);
    EXPECT_EQ(world.phase("news"), "starting");
    world.apply(server, control::StreamSet(server.sets.back()));
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
    EXPECT_EQ(consumer.state(), AssignmentState::ready);
}

TEST(OpenStream, TriesTheNextServerWhenOneRefuses) {
    World world;
    world.add_server("ds1", 0.1);
    world.add_server("ds2", 0.2);
    world.server("ds1").refuses.insert("news");
    ScriptedPublisher& publisher = world.add_publisher("news");
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
    EXPECT_EQ(publisher.told.back().data_server, "ds2");
    EXPECT_EQ(world.count_events(EventKind::stream_refused), 1);
    const Decision& decision = world.stream("news").decision;
    const auto refused = std::find_if(decision.candidates.begin(),
                                      decision.candidates.end(),
                                      [](const auto& one) { return one.server == "ds1"; });
    EXPECT_EQ(refused->ineligible_reason, "it refused the stream: no port is free");
    EXPECT_EQ(world.add_publisher("other").told.back().data_server, "ds1")
        << "what was refused was no hand-out: ds1 is not recent";
}

TEST(OpenStream, AsksAgainLaterWhenAllHaveRefused) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    server.refuses.insert("news");
    ScriptedPublisher& publisher = world.add_publisher("news");
    EXPECT_EQ(publisher.told.back().state, DesiredState::wait);
    const std::size_t sets = server.sets.size();
    world.pass(900ms);
    EXPECT_EQ(server.sets.size(), sets) << "not with every load report";
    server.refuses.clear();
    world.pass(100ms);
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
}

TEST(OpenStream, TakesAnAcknowledgementThatDoesNotNameTheStreamForARefusal) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    world.add_server("ds2", 0.5);
    server.acknowledges = false;
    ScriptedPublisher& publisher = world.add_publisher("news");
    control::Applied applied;
    applied.epoch = server.sets.back().epoch;
    applied.generation = server.sets.back().generation;
    world.take(FromDataServer{server.session, applied});
    EXPECT_EQ(publisher.told.back().data_server, "ds2");
}

TEST(OpenStream, HasOneSetInFlightAndThenSendsWhatChangedMeanwhile) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    server.acknowledges = false;
    const std::size_t before = server.sets.size();
    world.add_publisher("a");
    world.add_publisher("b");
    world.add_publisher("c");
    ASSERT_EQ(server.sets.size(), before + 1);
    const control::StreamSet first = server.sets.back();
    world.apply(server, first);
    ASSERT_EQ(server.sets.size(), before + 2);
    EXPECT_EQ(server.sets.back().base_generation, first.generation);
    EXPECT_EQ(server.sets.back().open.size(), 2);
}

TEST(OpenStream, SendsAnUnansweredSetAgainInFullEverySecond) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    server.acknowledges = false;
    world.add_publisher("news");
    const control::StreamSet change = server.sets.back();
    EXPECT_NE(change.base_generation, 0);
    world.pass(999ms);
    EXPECT_EQ(server.sets.back().generation, change.generation);
    world.pass(1ms);
    EXPECT_EQ(server.sets.back().base_generation, 0);
    EXPECT_GT(server.sets.back().generation, change.generation);
    world.apply(server, control::StreamSet(server.sets.back()));
    EXPECT_EQ(world.publishers.back().told.back().state, DesiredState::start);
}

TEST(OpenStream, TakesAServerThatDoesNotAcknowledgeForLost) {
    World world;
    ScriptedServer& server = world.add_server("ds1", 0.1);
    world.add_server("ds2", 0.2);
    server.acknowledges = false;
    ScriptedPublisher& publisher = world.add_publisher("news");
    ScriptedConsumer& consumer = world.add_consumer("news");
    world.pass(3s);
    EXPECT_FALSE(server.session);
    EXPECT_EQ(publisher.told.back().data_server, "ds2");
    EXPECT_EQ(consumer.state(), AssignmentState::ready);
}

TEST(OpenStream, SendsTheFullSetAtOnceWhenAChangeDidNotFit) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    server.generation = 3;  // it is somewhere else than presence believes
    ScriptedPublisher& publisher = world.add_publisher("news");
    EXPECT_EQ(server.sets.back().base_generation, 0);
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
}

TEST(OpenStream, RaisesItsEpochWhenAServerHasObeyedAHigherOne) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    server.epoch_seen = 700;
    ScriptedPublisher& publisher = world.add_publisher("news");
    EXPECT_FALSE(server.session) << "nothing more is said with an epoch it refuses";
    EXPECT_EQ(world.stored.back().epoch, 701);
    world.attach(server);
    EXPECT_EQ(server.sets.back().epoch, 701);
    EXPECT_EQ(publisher.told.back().epoch, 701);
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
}

TEST(OpenStream, RefusesAServerThatHasObeyedAnAbsurdEpoch) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    server.epoch_seen = control::kEpochMax;
    world.add_publisher("news");
    EXPECT_FALSE(server.session);
    ASSERT_TRUE(server.rejected.has_value());
    EXPECT_THAT(server.rejected->reason, HasSubstr("restart this data server"));
    EXPECT_EQ(world.state.wanted.epoch, 100);
}

TEST(OpenStream, IgnoresAcknowledgementsOfGenerationsItNeverSent) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    server.acknowledges = false;
    world.add_publisher("news");
    control::Applied applied;
    applied.epoch = server.sets.back().epoch;
    applied.generation = server.sets.back().generation + 1'000;
    world.take(FromDataServer{server.session, applied});
    EXPECT_EQ(world.phase("news"), "starting");
    EXPECT_TRUE(world.state.servers.at("ds1").in_flight);
}

TEST(OpenStream, RepeatsStartUntilItIsAcknowledged) {
    World world;
    world.add_server("ds1");
    ScriptedPublisher& publisher = world.new_publisher("news");
    publisher.acknowledges = false;
    world.publish(publisher);
    const control::PublisherDesired first = publisher.told.back();
    const std::size_t told = publisher.told.size();
    world.pass(3s);
    EXPECT_EQ(publisher.told.size(), told + 3);
    EXPECT_EQ(publisher.told.back().version, first.version) << "twice is the same as once";
    world.take(FromPublisher{
        publisher.session, control::PublisherReport{first.version, DesiredState::start, true, ""}});
    world.pass(1s);
    EXPECT_EQ(publisher.told.size(), told + 3);
}

TEST(OpenStream, IgnoresAnswersToOlderVersions) {
    World world;
    world.add_server("ds1");
    ScriptedPublisher& publisher = world.new_publisher("news");
    publisher.acknowledges = false;
    world.publish(publisher);
    const control::PublisherDesired wait = publisher.told.front();
    const control::PublisherDesired start = publisher.told.back();
    ASSERT_LT(wait.version, start.version);
    world.take(FromPublisher{
        publisher.session, control::PublisherReport{wait.version, DesiredState::start, true, ""}});
    EXPECT_EQ(world.phase("news"), "starting");
    world.take(FromPublisher{
        publisher.session, control::PublisherReport{start.version, DesiredState::stop, true, ""}});
    EXPECT_EQ(world.phase("news"), "starting") << "the right version of another state";
    EXPECT_FALSE(world.stream("news").acknowledged);
}

TEST(OpenStream, IssuesTicketsThatTheDataServerVerifies) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    ScriptedPublisher& publisher = world.add_publisher("news");
    ScriptedConsumer& consumer = world.add_consumer("news");
    const TicketKey key{server.welcome->ticket_key};
    const Ticket publish = ticket_in(publisher.told.back().ticket);
    const std::uint64_t now_ms = world.server_clock_ms();
    EXPECT_EQ(verify_ticket(publish, key, now_ms), TicketVerdict::valid);
    EXPECT_EQ(verify_ticket(publish, key, now_ms + 60'000), TicketVerdict::valid);
    EXPECT_EQ(verify_ticket(publish, key, now_ms + 60'001), TicketVerdict::expired);
    EXPECT_EQ(publish.role, static_cast<std::uint8_t>(TicketRole::publish));
    EXPECT_EQ(publish.stream_id, stream_id_of("news").value);
    EXPECT_EQ(publish.peer_id, publisher.id.value);
    EXPECT_EQ(derive_session_key(key, publish.nonce).bytes, *publisher.told.back().session_key);
    const Ticket consume = ticket_in(consumer.told.back().ticket);
    EXPECT_EQ(verify_ticket(consume, key, now_ms), TicketVerdict::valid);
    EXPECT_EQ(consume.role, static_cast<std::uint8_t>(TicketRole::consume));
    EXPECT_EQ(consume.peer_id, consumer.id.value);
    EXPECT_NE(consume.nonce, publish.nonce);
}

TEST(OpenStream, GivesAPublisherThatIsNotAcceptedAFreshTicketBeforeTheOldIsUseless) {
    World world;
    world.add_server("ds1");
    ScriptedPublisher& publisher = world.new_publisher("news");
    publisher.transmits = false;
    world.publish(publisher);
    world.add_consumer("news");
    const std::uint64_t version = publisher.told.back().version;
    world.pass(29'999ms);
    EXPECT_EQ(publisher.told.back().version, version);
    world.pass(1ms);
    EXPECT_GT(publisher.told.back().version, version);
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
}

TEST(OpenStream, GivesAPublisherInTroubleAFreshTicketSoon) {
    World world;
    world.add_server("ds1");
    ScriptedPublisher& publisher = world.add_publisher("news");
    world.add_consumer("news");
    world.pass(60s);
    const std::uint64_t version = publisher.told.back().version;
    world.take(FromPublisher{
        publisher.session,
        control::PublisherReport{version, DesiredState::start, false, "the flow has ended"}});
    world.pass(0s);
    EXPECT_GT(publisher.told.back().version, version) << "its ticket was a minute old";
}

TEST(OpenStream, BelievesTheDataServerThatThePublisherIsThere) {
    World world;
    ScriptedServer& server = world.add_server("ds1");
    ScriptedPublisher& publisher = world.new_publisher("news");
    publisher.transmits = false;
    world.publish(publisher);
    world.add_consumer("news");
    EXPECT_EQ(world.phase("news"), "starting");
    server.open[stream_id_of("news")].publisher = publisher.id;
    world.report(server, stream_id_of("news"));
    EXPECT_EQ(world.phase("news"), "transmitting");
    EXPECT_EQ(list_streams(world.state, "news")->front().publisher_address->port, 3999);
}

}  // namespace
}  // namespace penstock::presence
