#include "presence/recover.h"

#include "unit/presence/world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace penstock::presence {
namespace {

using control::DesiredState;
using testing::HasSubstr;

/// A presence that has just been restarted; the one before it had these data servers.
class RecoverTest : public testing::Test {
  protected:
    void restart(std::set<std::string, std::less<>> servers) {
        Durable facts;
        facts.epoch = 100;
        facts.master_key.bytes.fill(7);
        facts.servers = std::move(servers);
        lead(world_.state, facts, world_.now);
    }
    /// A data server that has this stream open, as the former presence told it.
    ScriptedServer& server_with(const std::string& name,
                                const std::string& stream,
                                PeerId publisher) {
        ScriptedServer& server = world_.new_server(name);
        server.epoch_seen = 99;
        server.generation = 40;
        OpenStream& open = server.open[stream_id_of(stream)];
        open.desired.stream = stream_id_of(stream);
        open.desired.name = stream;
        open.desired.publisher = publisher;
        open.endpoint = {IpAddress::v4(0x0a5b0009U), 25'000};
        open.publisher = publisher;
        return server;
    }
    [[nodiscard]] static bool has_open(const ScriptedServer& server, const std::string& stream) {
        return server.open.contains(stream_id_of(stream));
    }
    [[nodiscard]] static bool got_full_set(const ScriptedServer& server) {
        return std::ranges::any_of(server.sets, [](const control::StreamSet& set) {
            return set.base_generation == 0 && !set.keep_others;
        });
    }
    /// So long, with data servers that report.
    void pass(std::chrono::milliseconds duration) { world_.pass(duration); }

    World world_;
};

TEST_F(RecoverTest, ClosesNothingUntilAllServersAreBack) {
    restart({"ds1", "ds2"});
    // Two data servers have one stream: one of them has to close it in the end.
    ScriptedServer& first = server_with("ds1", "news", PeerId{5});
    world_.attach(first);
    pass(5s);
    EXPECT_FALSE(got_full_set(first)) << "ds2 is not back";
    ScriptedServer& second = server_with("ds2", "news", PeerId{5});
    world_.attach(second);
    EXPECT_FALSE(has_open(second, "news")) << "all are back and 3 s have passed";
    EXPECT_TRUE(has_open(first, "news"));
    EXPECT_TRUE(got_full_set(first));
}

TEST_F(RecoverTest, LetsAThreeSecondsPassEvenIfAllAreBackAtOnce) {
    restart({"ds1", "ds2"});
    ScriptedServer& first = server_with("ds1", "news", PeerId{5});
    ScriptedServer& second = server_with("ds2", "news", PeerId{5});
    world_.attach(first);
    world_.attach(second);
    pass(2'900ms);
    EXPECT_TRUE(has_open(first, "news") && has_open(second, "news"));
    pass(100ms);
    EXPECT_NE(has_open(first, "news"), has_open(second, "news"));
    EXPECT_EQ(world_.count_events(EventKind::recovered), 1);
}

TEST_F(RecoverTest, NamesAllStreamsInEverySetWhileAServerIsAway) {
    restart({"ds1", "ds2"});
    ScriptedServer& server = server_with("ds1", "news", PeerId{5});
    world_.attach(server);
    pass(3s);
    const std::size_t before = server.sets.size();
    world_.add_publisher("late");
    ASSERT_EQ(server.sets.size(), before + 1);
    const control::StreamSet& set = server.sets.back();
    EXPECT_TRUE(set.keep_others);
    EXPECT_EQ(set.open.size(), 2) << "who does not know keep_others must not close news";
    EXPECT_TRUE(has_open(server, "news") && has_open(server, "late"));
    pass(5s);
    EXPECT_EQ(server.sets.size(), before + 1) << "nothing is new";
}

TEST_F(RecoverTest, WaitsFifteenSecondsForAServerThatIsGone) {
    restart({"ds1", "ds2"});
    ScriptedServer& server = server_with("ds1", "news", PeerId{5});
    world_.attach(server);
    pass(14'900ms);
    EXPECT_FALSE(got_full_set(server));
    pass(100ms);
    EXPECT_TRUE(got_full_set(server));
    EXPECT_FALSE(world_.stored.back().servers.contains("ds2")) << "nobody waits for it again";
    EXPECT_TRUE(world_.stored.back().servers.contains("ds1"));
}

TEST_F(RecoverTest, StopsNoPublisherWhileAServerIsAway) {
    restart({"ds1", "ds2"});
    ScriptedPublisher& publisher = world_.new_publisher("news");
    publisher.close_after_ms = 100;
    publisher.transmits_already = true;
    ScriptedServer& server = server_with("ds1", "news", publisher.id);
    world_.attach(server);
    world_.publish(publisher);
    pass(14'900ms);
    for (const control::PublisherDesired& desired : publisher.told) {
        EXPECT_EQ(desired.state, DesiredState::start);
    }
    pass(200ms);
    EXPECT_EQ(publisher.told.back().state, DesiredState::wait) << "nobody watches it";
}

TEST_F(RecoverTest, ForgetsNoPublisherWhileAServerIsAway) {
    restart({"ds1", "ds2"});
    ScriptedPublisher& publisher = world_.new_publisher("news");
    ScriptedServer& server = server_with("ds1", "news", publisher.id);
    world_.attach(server);
    world_.publish(publisher);
    world_.cut(publisher.session);
    pass(14'900ms);
    EXPECT_TRUE(has_open(server, "news"));
    pass(200ms);
    EXPECT_FALSE(has_open(server, "news"));
}

TEST_F(RecoverTest, LetsAPublisherGoOnUntilItsServerIsBack) {
    restart({"ds1", "ds2"});
    ScriptedServer& other = world_.new_server("ds1");
    other.epoch_seen = 99;
    world_.attach(other);
    ScriptedPublisher& publisher = world_.new_publisher("news");
    publisher.transmits_already = true;
    world_.publish(publisher);
    world_.add_consumer("news", 60'000);
    pass(8s);
    EXPECT_TRUE(publisher.told.empty()) << "neither WAIT nor another place";
    ScriptedServer& server = server_with("ds2", "news", publisher.id);
    world_.attach(server);
    ASSERT_FALSE(publisher.told.empty());
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
    EXPECT_EQ(publisher.told.back().data_server, "ds2");
}

TEST_F(RecoverTest, LetsAPublisherGoOnWhereItJoinsAfterTheReports) {
    restart({"ds1", "ds2"});
    ScriptedPublisher& publisher = world_.new_publisher("news");
    publisher.transmits_already = true;
    ScriptedServer& there = server_with("ds1", "news", PeerId{});
    world_.attach(there);  // as the former presence moved the stream, its publisher had to join yet
    world_.publish(publisher);
    there.open[stream_id_of("news")].publisher = publisher.id;
    world_.report(there, stream_id_of("news"));
    pass(1s);
    ScriptedServer& before = server_with("ds2", "news", publisher.id);
    world_.attach(before);
    pass(3s);
    for (const control::PublisherDesired& desired : publisher.told) {
        EXPECT_EQ(desired.state, DesiredState::start) << "it is not to cease in between";
        EXPECT_EQ(desired.data_server, "ds1");
    }
    EXPECT_TRUE(has_open(there, "news"));
    EXPECT_FALSE(has_open(before, "news"));
}

TEST_F(RecoverTest, GivesUpTheServerOfAPublisherAfterFifteenSeconds) {
    restart({"ds1", "ds2"});
    ScriptedServer& other = world_.new_server("ds1");
    world_.attach(other);
    ScriptedPublisher& publisher = world_.new_publisher("news");
    publisher.transmits_already = true;
    world_.publish(publisher);
    world_.add_consumer("news", 60'000);
    pass(15s);
    ASSERT_FALSE(publisher.told.empty());
    EXPECT_EQ(publisher.told.back().data_server, "ds1");
}

TEST_F(RecoverTest, ServesNewRequestsAsSoonAsAllServersAreBack) {
    restart({"ds1"});
    ScriptedPublisher& publisher = world_.add_publisher("news");
    EXPECT_TRUE(publisher.told.empty());
    ScriptedServer& server = server_with("ds1", "old", PeerId{5});
    world_.attach(server);
    ASSERT_FALSE(publisher.told.empty());
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
    EXPECT_TRUE(has_open(server, "old")) << "what is new is added to what is there";
}

TEST_F(RecoverTest, TellsNobodyThatAStreamIsAbsentBeforePublishersCanBeBack) {
    restart({"ds1"});
    world_.attach(world_.new_server("ds1"));
    ScriptedConsumer& consumer = world_.add_consumer("news", 0);
    pass(2'900ms);
    EXPECT_FALSE(consumer.is_closed);
    world_.add_publisher("news");
    EXPECT_EQ(consumer.state(), control::AssignmentState::ready);
}

TEST_F(RecoverTest, ServesNewRequestsAfterThreeSecondsAtLatest) {
    restart({"ds1", "ds2"});
    world_.add_server("ds1");
    ScriptedPublisher& publisher = world_.add_publisher("news");
    pass(2'900ms);
    EXPECT_TRUE(publisher.told.empty());
    pass(100ms);
    ASSERT_FALSE(publisher.told.empty());
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
}

TEST_F(RecoverTest, CountsTheDeadlineOfADrainFromItsBeginningToLead) {
    restart({"ds1", "ds2"});
    world_.state.facts.duties["ds1"] = {Duty::Kind::draining, 20s};
    world_.state.wanted = world_.state.facts;
    ScriptedPublisher& publisher = world_.new_publisher("news");
    publisher.joins_other = false;  // so that it cannot be moved without a gap
    ScriptedServer& first = server_with("ds1", "news", publisher.id);
    world_.attach(first);
    world_.attach(world_.new_server("ds2"));
    world_.publish(publisher);
    world_.add_consumer("news", 60'000);
    pass(19'900ms);
    EXPECT_TRUE(has_open(first, "news"));
    pass(kMovePatience + 1s);
    EXPECT_FALSE(has_open(first, "news"));
    EXPECT_EQ(publisher.told.back().data_server, "ds2");
}

TEST_F(RecoverTest, LeavesTicketsOfBeforeValid) {
    restart({});
    world_.add_server("ds1");
    const ScriptedServer& server = world_.server("ds1");
    const auto before = server.welcome->ticket_key;
    World again;
    lead(again.state, world_.stored.back(), again.now);
    ScriptedServer& same = again.new_server("ds1");
    same.boot_id = server.boot_id;
    again.attach(same);
    EXPECT_EQ(same.welcome->ticket_key, before);
}

TEST_F(RecoverTest, CommandsWithARaisedEpochOnlyWhenItIsDurable) {
    restart({});
    world_.store_trouble = "the disk is full";
    ScriptedServer& server = world_.new_server("ds1");
    server.epoch_seen = 700;
    world_.attach(server);
    EXPECT_FALSE(server.session);
    EXPECT_FALSE(server.welcome.has_value());
    EXPECT_EQ(world_.state.facts.epoch, 100);
    EXPECT_THAT(server.rejected->reason, HasSubstr("obeyed epoch 700"));
    EXPECT_EQ(server.rejected->retry_after_ms, 1'000) << "the write before has failed";
    EXPECT_EQ(world_.count_events(EventKind::store_failed), 1) << "the same is said once";
    world_.store_trouble.clear();
    world_.attach(server);
    EXPECT_EQ(server.welcome->epoch, 701);
    EXPECT_EQ(world_.stored.back().epoch, 701);
}

TEST_F(RecoverTest, GoesOnWithoutAStoreThatFails) {
    restart({});
    world_.store_trouble = "the disk is full";
    world_.add_server("ds1");
    ScriptedPublisher& publisher = world_.add_publisher("news");
    ASSERT_FALSE(publisher.told.empty());
    EXPECT_EQ(publisher.told.back().state, DesiredState::start);
    EXPECT_TRUE(world_.state.facts.servers.empty());
}

TEST_F(RecoverTest, PutsAServerOnRecordAsSoonAsTheStoreWorksAgain) {
    restart({});
    world_.store_trouble = "the disk is full";
    world_.add_server("ds1");
    pass(10s);
    EXPECT_TRUE(world_.state.facts.servers.empty());
    EXPECT_EQ(world_.count_events(EventKind::store_failed), 1) << "the same is said once";
    world_.store_trouble.clear();
    pass(1s);
    EXPECT_TRUE(world_.state.facts.servers.contains("ds1"));
    EXPECT_TRUE(world_.stored.back().servers.contains("ds1"));
}

TEST_F(RecoverTest, HoldsStreamsIfTheRecordOfServersWasNotWhole) {
    restart({"ds1"});
    ScriptedServer& unrecorded = world_.new_server("ds2");
    unrecorded.epoch_seen = 99;
    world_.attach(unrecorded);
    ScriptedServer& recorded = world_.new_server("ds1");
    recorded.epoch_seen = 99;
    world_.attach(recorded);
    ScriptedPublisher& rival = world_.add_publisher("news");
    world_.add_consumer("news", 60'000);
    pass(2s);
    EXPECT_TRUE(rival.told.empty()) << "one more that was not put on record may have the stream";
    ScriptedServer& server = server_with("ds3", "news", PeerId{77});
    world_.attach(server);
    EXPECT_TRUE(rival.rejected.has_value());
    EXPECT_TRUE(has_open(server, "news"));
    EXPECT_FALSE(has_open(recorded, "news") || has_open(unrecorded, "news"));
}

TEST_F(RecoverTest, FollowerTurnsEverybodyAwayAndSaysWhoLeads) {
    restart({});
    ScriptedServer& server = world_.add_server("ds1");
    ScriptedPublisher& publisher = world_.add_publisher("news");
    ScriptedConsumer& consumer = world_.add_consumer("news");
    const std::size_t sets = server.sets.size();
    const std::size_t told = publisher.told.size();
    world_.take(LeadershipLost{"10.0.0.2:7400"});
    EXPECT_FALSE(server.session || publisher.session);
    EXPECT_TRUE(consumer.is_closed);
    EXPECT_EQ(server.rejected->leader, "10.0.0.2:7400");
    EXPECT_EQ(publisher.rejected->leader, "10.0.0.2:7400");
    EXPECT_GT(consumer.rejected->retry_after_ms, 0) << "0 would be for good";
    EXPECT_EQ(server.sets.size(), sets) << "no command goes with it";
    EXPECT_EQ(publisher.told.size(), told);
    EXPECT_TRUE(world_.state.servers.empty() && world_.state.streams.empty());
    const SessionOpened late{SessionId{999}, SessionKind::data_server};
    const std::vector<Action> actions = step(world_.state, late, world_.now);
    ASSERT_EQ(actions.size(), 2);
    const auto& reject = std::get<control::Reject>(std::get<ToDataServer>(actions[0]).message);
    EXPECT_THAT(reject.reason, HasSubstr("does not lead, 10.0.0.2:7400 does"));
    EXPECT_TRUE(std::holds_alternative<CloseSession>(actions[1]));
}

TEST_F(RecoverTest, RecordsOnceThatItLeadsNoMore) {
    restart({});
    world_.take(LeadershipLost{""});
    world_.take(LeadershipLost{"10.0.0.2:7400"});
    EXPECT_EQ(world_.count_events(EventKind::leadership_lost), 1);
    world_.take(LeadershipWon{Durable{}});
    world_.take(LeadershipLost{""});
    EXPECT_EQ(world_.count_events(EventKind::leadership_lost), 2);
}

TEST_F(RecoverTest, LeaderTakesOverFromTheOneBefore) {
    restart({});
    world_.take(LeadershipLost{""});
    Durable facts;
    facts.epoch = 500;
    facts.servers = {"ds1", "ds2"};
    world_.take(LeadershipWon{facts});
    ScriptedServer& server = server_with("ds1", "news", PeerId{5});
    server.epoch_seen = 499;
    world_.attach(server);
    EXPECT_EQ(server.welcome->epoch, 500);
    pass(10s);
    EXPECT_FALSE(got_full_set(server)) << "ds2 is not back";
}

TEST_F(RecoverTest, TakesNoAnswerOfTheStoreForThatToALaterQuestion) {
    restart({});
    world_.holds_answers = true;  // of the store
    world_.add_server("ds1");
    world_.take(LeadershipLost{""});
    Durable facts;
    facts.epoch = 500;
    world_.take(LeadershipWon{facts});
    world_.add_server("ds2");
    world_.take(FactsStored{1, ""});
    EXPECT_TRUE(world_.state.facts.servers.empty());
    world_.take(FactsStored{2, ""});
    EXPECT_TRUE(world_.state.facts.servers.contains("ds2"));
}

}  // namespace
}  // namespace penstock::presence
