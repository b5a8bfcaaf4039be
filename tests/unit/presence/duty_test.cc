#include "presence/duty.h"

#include "presence/queries.h"
#include "presence/recover.h"
#include "unit/presence/world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace penstock::presence {
namespace {

using control::AssignmentState;
using control::CommandResult;
using control::DesiredState;
using control::ServerDuty;
using testing::Contains;
using testing::HasSubstr;

/// Two data servers; the stream `news` is at ds1, with one consumer that has
/// joined.
class DutyTest : public testing::Test {
  public:
    DutyTest()
        : ds1(world.add_server("ds1", 0.1)),
          ds2(world.add_server("ds2", 0.2)),
          publisher(world.add_publisher("news")),
          consumer(world.add_consumer("news")) {
        world.join(consumer);
        world.pass(100ms);
    }

    CommandResult command(const std::string& server,
                          ServerDuty duty,
                          std::chrono::milliseconds deadline = 5min) {
        world.take(FromOperator{7, {server, duty, deadline}});
        EXPECT_EQ(world.answers.back().question, 7);
        return world.answers.back().result;
    }
    std::string state_of(const std::string& server) {
        return std::string(list_servers(world.state, server, world.now)->front().state);
    }
    const control::PublisherDesired& told() { return publisher.told.back(); }

    World world;
    ScriptedServer& ds1;
    ScriptedServer& ds2;
    ScriptedPublisher& publisher;
    ScriptedConsumer& consumer;
};

TEST_F(DutyTest, CordonedServerTakesNoNewStreamsAndKeepsItsOwn) {
    EXPECT_EQ(command("ds2", ServerDuty::cordoned).kind, CommandResult::Kind::done);
    EXPECT_EQ(state_of("ds2"), "cordoned");
    EXPECT_EQ(world.add_publisher("a").told.back().data_server, "ds1") << "although it is recent";
    command("ds1", ServerDuty::cordoned);
    world.pass(1s);
    EXPECT_EQ(told().data_server, "ds1");
    ScriptedPublisher& waiting = world.add_publisher("b");
    EXPECT_EQ(waiting.told.back().state, DesiredState::wait);
    EXPECT_THAT(world.stream("b").decision.reason, HasSubstr("it is cordoned"));
    command("ds2", ServerDuty::none);
    world.pass(100ms);
    EXPECT_EQ(waiting.told.back().data_server, "ds2");
    EXPECT_EQ(state_of("ds2"), "attached");
}

TEST_F(DutyTest, RefusesAnUnknownServer) {
    const CommandResult result = command("ds9", ServerDuty::draining);
    EXPECT_EQ(result.kind, CommandResult::Kind::unknown_server);
    EXPECT_THAT(result.reason, HasSubstr("no data server is called ds9"));
    EXPECT_TRUE(world.stored.empty() || world.stored.back().duties.empty());
}

TEST_F(DutyTest, RefusesToDrainTheLastServerThatCanTakeStreams) {
    command("ds2", ServerDuty::cordoned);
    const CommandResult result = command("ds1", ServerDuty::draining);
    EXPECT_EQ(result.kind, CommandResult::Kind::impossible);
    EXPECT_THAT(result.reason, HasSubstr("no data server but ds1 can take streams now"));
    EXPECT_EQ(state_of("ds1"), "attached");
    EXPECT_EQ(world.count_events(EventKind::draining), 0);
}

TEST_F(DutyTest, MovesAStreamBeforeItBreaksIt) {
    publisher.joins_other = false;
    command("ds1", ServerDuty::draining);
    EXPECT_EQ(state_of("ds1"), "draining");
    ASSERT_TRUE(told().also.has_value()) << "the publisher is to send to both";
    EXPECT_EQ(told().data_server, "ds1");
    EXPECT_EQ(told().also->data_server, "ds2");
    EXPECT_EQ(told().also->endpoint, ds2.open.begin()->second.endpoint);
    EXPECT_EQ(consumer.told.back().data_server, "ds1") << "not before content is there";
    EXPECT_EQ(ticket_in(told().also->ticket).role, static_cast<std::uint8_t>(TicketRole::publish));

    publisher.joins_other = true;
    world.acknowledge(publisher, told());
    world.report(ds2, stream_id_of("news"));
    EXPECT_EQ(told().data_server, "ds2");
    EXPECT_EQ(told().also->data_server, "ds1") << "until consumers have left it";
    EXPECT_EQ(consumer.told.back().state, AssignmentState::ready);
    EXPECT_EQ(consumer.told.back().data_server, "ds2");
    world.pass(3s);
    EXPECT_TRUE(ds1.open.contains(stream_id_of("news"))) << "the consumer has not gone over";
    EXPECT_EQ(state_of("ds1"), "draining");

    world.join(consumer);
    world.leave_at(consumer, ds1);
    EXPECT_EQ(told().data_server, "ds2");
    EXPECT_FALSE(told().also.has_value());
    EXPECT_TRUE(ds1.open.empty());
    EXPECT_EQ(state_of("ds1"), "drained");
    EXPECT_EQ(world.phase("news"), "transmitting");
    EXPECT_THAT(world.events_of("news"), Contains("moved"));
    world.pass(30s);
    EXPECT_EQ(world.phase("news"), "transmitting");
    EXPECT_EQ(consumer.told.size(), 2);
}

TEST_F(DutyTest, ClosesTheOldPlaceEvenIfAConsumerStaysThere) {
    command("ds1", ServerDuty::draining);
    ASSERT_EQ(told().data_server, "ds2");
    world.pass(19'900ms);
    EXPECT_EQ(state_of("ds1"), "draining");
    world.pass(200ms);
    EXPECT_EQ(state_of("ds1"), "drained");
}

TEST_F(DutyTest, DrainedServerComesBack) {
    command("ds1", ServerDuty::draining);
    world.join(consumer);
    world.leave_at(consumer, ds1);
    ASSERT_EQ(state_of("ds1"), "drained");
    command("ds1", ServerDuty::none);
    EXPECT_EQ(state_of("ds1"), "attached");
    world.pass(10s);
    EXPECT_EQ(world.add_publisher("weather").told.back().data_server, "ds1");
}

TEST_F(DutyTest, MovesWhatStartsWhileItIsDrained) {
    world.state.settings.recent_period = 0s;
    ds1.acknowledges = false;
    ScriptedPublisher& late = world.add_publisher("late");
    ASSERT_TRUE(late.told.back().state == DesiredState::wait);
    command("ds1", ServerDuty::draining);
    ds1.acknowledges = true;
    world.apply(ds1, ds1.sets.back());
    world.pass(300ms);
    EXPECT_EQ(late.told.back().data_server, "ds2");
}

TEST_F(DutyTest, TriesAgainIfThePublisherCannotReachTheNewServer) {
    publisher.joins_other = false;
    command("ds1", ServerDuty::draining);
    ASSERT_TRUE(told().also.has_value());
    world.pass(5'100ms);
    EXPECT_FALSE(told().also.has_value()) << "the first attempt is over";
    EXPECT_TRUE(ds2.open.empty());
    EXPECT_EQ(told().data_server, "ds1");
    publisher.joins_other = true;
    world.pass(10s);
    EXPECT_EQ(told().data_server, "ds2");
}

TEST_F(DutyTest, MovesWithAGapWhenTheDeadlineHasPassed) {
    publisher.joins_other = false;
    command("ds1", ServerDuty::draining, 2s);
    world.pass(1'900ms);
    EXPECT_EQ(told().data_server, "ds1");
    world.pass(8s);
    EXPECT_EQ(told().data_server, "ds2");
    EXPECT_EQ(consumer.told.back().data_server, "ds2");
    EXPECT_EQ(state_of("ds1"), "drained");
}

TEST_F(DutyTest, MakesTheDeadlineDurableAndANewOneToo) {
    const auto stored = [&] { return world.stored.back().duties.at("ds1").deadline; };
    publisher.joins_other = false;
    command("ds1", ServerDuty::draining, 5min);
    EXPECT_EQ(stored(), 5min);
    command("ds1", ServerDuty::draining, 1s);
    EXPECT_EQ(stored(), 1s);
    world.pass(kMovePatience + 1s);
    EXPECT_EQ(told().data_server, "ds2") << "the new one counts";
}

TEST_F(DutyTest, StaysWhereItIsAfterTheDeadlineIfNoOtherServerCanTakeIt) {
    publisher.joins_other = false;
    command("ds1", ServerDuty::draining, 2s);
    world.cut(ds2.session);
    world.pass(10s);
    EXPECT_EQ(told().data_server, "ds1");
    EXPECT_TRUE(ds1.open.contains(stream_id_of("news"))) << "content goes on";
    world.attach(ds2);
    world.pass(5s);
    EXPECT_EQ(told().data_server, "ds2");
    EXPECT_EQ(state_of("ds1"), "drained");
}

TEST_F(DutyTest, WaitsForNoConsumerThatHasAFlowAtBothForLong) {
    command("ds1", ServerDuty::draining);
    ASSERT_TRUE(told().also.has_value());
    world.join(consumer);  // there, too; its LEAVE was lost
    world.pass(kOverlap - 100ms);
    EXPECT_TRUE(ds1.open.contains(stream_id_of("news"))) << "it may not have got content there yet";
    world.pass(200ms);
    EXPECT_FALSE(ds1.open.contains(stream_id_of("news")));
    EXPECT_EQ(state_of("ds1"), "drained");
}

TEST_F(DutyTest, TakesAConsumerBackThatIsStillAtTheOldServer) {
    world.state.settings.stream_consumers_max = 1;
    command("ds1", ServerDuty::draining);
    ASSERT_EQ(world.stream("news").move->flows.size(), 1);
    world.cut(consumer.session);
    world.request(consumer);
    EXPECT_FALSE(consumer.rejected.has_value());
    EXPECT_EQ(consumer.told.back().data_server, "ds2");
}

TEST_F(DutyTest, TakesADutyBackOfAServerThatHasNotReturned) {
    command("ds2", ServerDuty::cordoned);
    Durable facts = world.state.facts;
    World after;
    lead(after.state, facts, after.now);
    after.take(FromOperator{8, {"ds2", ServerDuty::none, {}}});
    EXPECT_EQ(after.answers.back().result.kind, CommandResult::Kind::done);
    EXPECT_TRUE(after.stored.back().duties.empty());
    after.take(FromOperator{9, {"ds9", ServerDuty::none, {}}});
    EXPECT_EQ(after.answers.back().result.kind, CommandResult::Kind::unknown_server);
}

TEST_F(DutyTest, GoesOnAtTheNewServerIfTheOldOneDiesMeanwhile) {
    command("ds1", ServerDuty::draining);
    ASSERT_TRUE(told().also.has_value());
    world.cut(ds1.session);
    EXPECT_EQ(told().data_server, "ds2");
    EXPECT_FALSE(told().also.has_value());
    EXPECT_EQ(consumer.told.back().data_server, "ds2");
    EXPECT_EQ(world.phase("news"), "transmitting");
}

TEST_F(DutyTest, DoesNotGoOnWhereThePublisherNeverCameIfTheOldOneDies) {
    publisher.joins_other = false;
    command("ds1", ServerDuty::draining);
    ASSERT_EQ(told().also->data_server, "ds2");
    world.add_server("ds3", 0.05);
    world.cut(ds1.session);
    EXPECT_EQ(told().data_server, "ds3") << "assigned afresh";
    EXPECT_FALSE(told().also.has_value());
    EXPECT_FALSE(ds2.open.contains(stream_id_of("news")));
}

TEST_F(DutyTest, IsNotDrainedBeforeItHasReportedWhatItHas) {
    command("ds1", ServerDuty::draining);
    world.cut(ds1.session);
    EXPECT_EQ(state_of("ds1"), "gone") << "it may still relay";
    world.say_hello(ds1);
    EXPECT_EQ(state_of("ds1"), "draining");
}

TEST_F(DutyTest, GoesBackToTheOldServerIfTheNewOneDiesMeanwhile) {
    command("ds1", ServerDuty::draining);
    ASSERT_EQ(told().data_server, "ds2");
    world.cut(ds2.session);
    EXPECT_EQ(told().data_server, "ds1");
    EXPECT_FALSE(told().also.has_value());
    EXPECT_EQ(consumer.told.back().data_server, "ds1");
}

TEST_F(DutyTest, StopsAStreamAtBothPlacesWhenNobodyWatches) {
    publisher.joins_other = false;
    command("ds1", ServerDuty::draining);
    world.stream("news").close_after = 1s;
    world.leave(consumer);
    world.cut(consumer.session);
    world.pass(2s);
    EXPECT_EQ(told().state, DesiredState::wait);
    EXPECT_TRUE(ds1.open.empty());
    EXPECT_TRUE(ds2.open.empty());
    EXPECT_EQ(state_of("ds1"), "drained");
}

TEST_F(DutyTest, IsInForceWhenItIsDurable) {
    world.holds_answers = true;
    world.take(FromOperator{1, {"ds1", ServerDuty::draining, 5min}});
    world.pass(100ms);
    EXPECT_TRUE(world.answers.empty());
    EXPECT_EQ(state_of("ds1"), "attached");
    EXPECT_EQ(told().data_server, "ds1");
    world.take(FactsStored{world.state.stores, ""});
    ASSERT_EQ(world.answers.size(), 1);
    EXPECT_EQ(world.answers.back().result.kind, CommandResult::Kind::done);
    EXPECT_EQ(state_of("ds1"), "draining");
    EXPECT_EQ(told().data_server, "ds2");
}

TEST_F(DutyTest, AnswersCommandsThatCrossEachOtherInTheStore) {
    world.holds_answers = true;
    const auto say = [this](std::uint64_t question, ServerDuty duty) {
        world.take(FromOperator{question, {"ds1", duty, 5min}});
    };
    say(1, ServerDuty::cordoned);
    say(2, ServerDuty::none);
    say(3, ServerDuty::cordoned);
    EXPECT_TRUE(world.answers.empty());
    world.take(FactsStored{world.state.stores, ""});
    EXPECT_EQ(world.answers.size(), 3) << "the first write has what was wanted last";
    EXPECT_EQ(state_of("ds1"), "cordoned");
    say(4, ServerDuty::none);
    say(5, ServerDuty::cordoned);
    say(6, ServerDuty::none);
    say(7, ServerDuty::draining);
    world.take(FactsStored{world.state.stores, ""});
    ASSERT_EQ(world.answers.size(), 5) << "the drain is still to be written";
    EXPECT_EQ(state_of("ds1"), "attached");
    world.take(FactsStored{world.state.stores, ""});
    EXPECT_EQ(world.answers.size(), 7);
    EXPECT_EQ(state_of("ds1"), "draining");
}

TEST_F(DutyTest, LastServersAreNotDrainedWhileBothDrainsAreBeingStored) {
    world.holds_answers = true;
    world.take(FromOperator{1, {"ds1", ServerDuty::draining, 5min}});
    EXPECT_EQ(command("ds2", ServerDuty::draining).kind, CommandResult::Kind::impossible);
}

TEST_F(DutyTest, ChangesNothingIfItCannotBeStored) {
    world.store_trouble = "cannot write the store: the disk is full: free space on its disk";
    const CommandResult result = command("ds1", ServerDuty::draining);
    EXPECT_EQ(result.kind, CommandResult::Kind::not_stored);
    EXPECT_EQ(result.reason,
              "ds1 stays as it was: cannot write the store: the disk is full: free space on its "
              "disk; then ask again");
    EXPECT_EQ(state_of("ds1"), "attached");
    world.store_trouble.clear();
    world.pass(2s);
    EXPECT_EQ(state_of("ds1"), "attached") << "what was refused is not followed later";
    EXPECT_EQ(command("ds1", ServerDuty::draining).kind, CommandResult::Kind::done);
    EXPECT_EQ(told().data_server, "ds2");
}

TEST_F(DutyTest, DrainGoesOnUnderTheNextPresence) {
    publisher.joins_other = false;
    command("ds1", ServerDuty::draining);
    ASSERT_EQ(told().data_server, "ds1") << "the stream has not left";
    World next;
    lead(next.state, world.stored.back(), next.now);
    ScriptedServer& old = next.new_server("ds1");
    OpenStream& open = old.open[stream_id_of("news")];
    open = ds1.open.at(stream_id_of("news"));
    next.attach(old);
    next.add_server("ds2");
    EXPECT_EQ(list_servers(next.state, "ds1", next.now)->front().state, "draining");
    ScriptedPublisher& returning = next.new_publisher("news");
    returning.id = publisher.id;
    next.publish(returning);
    next.pass(2'900ms);
    EXPECT_TRUE(returning.told.empty() || returning.told.back().data_server == "ds1")
        << "it moves nothing until it has settled";
    next.pass(2s);
    ASSERT_FALSE(returning.told.empty());
    EXPECT_EQ(returning.told.back().data_server, "ds2");
    next.pass(kLeavePatience + kStopPatience);  // the consumer has not come to this presence
    EXPECT_EQ(list_servers(next.state, "ds1", next.now)->front().state, "drained");
    EXPECT_EQ(next.add_publisher("other").told.back().data_server, "ds2");
}

TEST_F(DutyTest, FollowerSendsOperatorsToTheLeader) {
    world.holds_answers = true;
    world.take(FromOperator{1, {"ds1", ServerDuty::draining, 5min}});
    world.take(LeadershipLost{"10.0.0.2:7400"});
    ASSERT_EQ(world.answers.size(), 1) << "whoever waits is answered";
    EXPECT_EQ(world.answers.back().result.kind, CommandResult::Kind::not_leading);
    EXPECT_EQ(world.answers.back().result.leader, "10.0.0.2:7400");
    const CommandResult result = command("ds1", ServerDuty::cordoned);
    EXPECT_EQ(result.kind, CommandResult::Kind::not_leading);
    EXPECT_EQ(result.reason, "this presence server does not lead, 10.0.0.2:7400 does");
}

}  // namespace
}  // namespace penstock::presence
