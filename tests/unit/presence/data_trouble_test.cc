#include "presence/data_trouble.h"

#include "unit/presence/world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace penstock::presence {
namespace {

using control::AssignmentState;
using control::DesiredState;
using control::LinkState;
using testing::HasSubstr;

/// A watched stream on the first of two data servers.
class DataTroubleTest : public testing::Test {
  protected:
    explicit DataTroubleTest(bool has_second = true)
        : first_(world_.add_server("ds1")),
          publisher_(world_.add_publisher("news")),
          consumer_(world_.add_consumer("news")) {
        world_.join(consumer_);
        if (has_second) {
            world_.add_server("ds2");
        }
    }

    void set_link(LinkState state) {
        first_.ports = {{state, 0}};
        world_.report_load(first_);
    }
    void be_silent_for(std::uint64_t ms) {
        first_.ports = {{LinkState::up, ms}};
        world_.report_load(first_);
    }
    void complain(const ScriptedPublisher& publisher) {
        const control::PublisherDesired& told = publisher.told.back();
        world_.take(FromPublisher{
            publisher.session,
            control::PublisherReport{told.version, told.state, true, "it does not answer"}});
    }
    void complain(const ScriptedConsumer& consumer) {
        world_.take(
            FromConsumer{consumer.session, control::ConsumerRenew{consumer.told.back().version}});
    }
    [[nodiscard]] control::ServerInfo info(const std::string& name) const {
        return list_servers(world_.state, name, world_.now)->front();
    }

    World world_;
    ScriptedServer& first_;
    ScriptedPublisher& publisher_;
    ScriptedConsumer& consumer_;
};

TEST_F(DataTroubleTest, MovesStreamsAtOnceWhenAPortHasNoLink) {
    set_link(LinkState::down);
    EXPECT_EQ(publisher_.told.back().state, DesiredState::start);
    EXPECT_EQ(publisher_.told.back().data_server, "ds2");
    EXPECT_EQ(consumer_.told.back().state, AssignmentState::ready);
    EXPECT_EQ(consumer_.told.back().data_server, "ds2");
    EXPECT_TRUE(first_.open.empty()) << "closed where it was";
    EXPECT_TRUE(first_.session) << "its control is alive";
    EXPECT_EQ(world_.stream("news").decided_for, "trouble of data server ds1");
    EXPECT_EQ(info("ds1").state, "degraded");
    EXPECT_THAT(info("ds1").trouble, HasSubstr("port net_null0 ("));
    EXPECT_THAT(info("ds1").trouble, HasSubstr("has no link"));
    EXPECT_EQ(world_.count_events(EventKind::data_down), 1);
}

TEST_F(DataTroubleTest, TellsNobodyToCeaseOrWaitMeanwhile) {
    const std::size_t said = publisher_.told.size();
    set_link(LinkState::down);
    for (std::size_t i = said; i < publisher_.told.size(); ++i) {
        EXPECT_EQ(publisher_.told[i].state, DesiredState::start);
    }
    for (const control::Assignment& told : consumer_.told) {
        EXPECT_EQ(told.state, AssignmentState::ready);
    }
}

TEST_F(DataTroubleTest, TakesALinkThatIsNotKnownForNoTrouble) {
    set_link(LinkState::unknown);
    EXPECT_EQ(info("ds1").state, "attached");
    EXPECT_EQ(publisher_.told.back().data_server, "ds1");
}

TEST_F(DataTroubleTest, TrustsALinkAgainAfterTwoSecondsAndNotBefore) {
    set_link(LinkState::down);
    set_link(LinkState::up);
    world_.pass(1'900ms);
    set_link(LinkState::down);
    set_link(LinkState::up);
    world_.pass(1'900ms);
    EXPECT_EQ(info("ds1").state, "degraded") << "it came and went";
    world_.pass(200ms);
    EXPECT_EQ(info("ds1").state, "attached");
    EXPECT_EQ(world_.count_events(EventKind::data_down), 1) << "said once";
    EXPECT_EQ(world_.count_events(EventKind::data_up), 1);
    EXPECT_EQ(publisher_.told.back().data_server, "ds2") << "nothing goes back by itself";
}

TEST_F(DataTroubleTest, GivesItNoNewStreamsMeanwhile) {
    set_link(LinkState::down);
    for (const char* const name : {"one", "two", "three"}) {
        EXPECT_EQ(world_.add_publisher(name).told.back().data_server, "ds2");
    }
    const auto explained = explain(world_.state, "three", world_.now);
    const auto first = std::ranges::find(explained->candidates, "ds1", &control::Candidate::server);
    ASSERT_NE(first, explained->candidates.end());
    EXPECT_THAT(first->ineligible_reason, HasSubstr("has no link"));
}

TEST_F(DataTroubleTest, MovesStreamsWhenAWorkerHangs) {
    first_.stuck_workers = {1};
    world_.report_load(first_);
    EXPECT_EQ(publisher_.told.back().data_server, "ds2");
    EXPECT_EQ(consumer_.told.back().data_server, "ds2");
    EXPECT_EQ(info("ds1").trouble, "worker 1 does not move");
    EXPECT_EQ(world_.add_publisher("more").told.back().data_server, "ds2");
}

TEST_F(DataTroubleTest, TakesAPortForDeafIfItHearsNothingAndTwoPeersComplain) {
    be_silent_for(1'000);
    complain(consumer_);
    EXPECT_EQ(publisher_.told.back().state, DesiredState::start) << "asked for an answer";
    world_.report_load(first_);
    EXPECT_EQ(info("ds1").state, "attached") << "one may be cut off itself";
    complain(publisher_);
    world_.report_load(first_);
    EXPECT_EQ(publisher_.told.back().data_server, "ds2");
    EXPECT_EQ(consumer_.told.back().data_server, "ds2");
    EXPECT_THAT(info("ds1").trouble, HasSubstr("receives nothing"));
    world_.pass(9'900ms);
    EXPECT_EQ(info("ds1").state, "degraded");
    world_.pass(200ms);
    EXPECT_EQ(info("ds1").state, "attached") << "it is tried again";
}

TEST_F(DataTroubleTest, TakesAPublisherThatPausesForNoTrouble) {
    be_silent_for(60'000);
    world_.pass(5s);
    EXPECT_EQ(info("ds1").state, "attached");
    EXPECT_EQ(publisher_.told.back().data_server, "ds1");
}

TEST_F(DataTroubleTest, BelievesNoPeersWhileTheirPortHears) {
    be_silent_for(999);
    complain(consumer_);
    complain(publisher_);
    world_.report_load(first_);
    EXPECT_EQ(info("ds1").state, "attached") << "others reach it";
    be_silent_for(1'000);
    complain(consumer_);
    be_silent_for(0);
    be_silent_for(1'000);
    complain(publisher_);
    world_.report_load(first_);
    EXPECT_EQ(info("ds1").state, "attached") << "it has heard something in between";
}

TEST_F(DataTroubleTest, BelievesPeersThatWereCutOffOnceNotAgainAtTheNextDataServer) {
    be_silent_for(1'000);
    complain(consumer_);
    complain(publisher_);
    world_.report_load(first_);
    ASSERT_EQ(publisher_.told.back().data_server, "ds2");
    ScriptedServer& second = world_.server("ds2");
    second.ports = {{LinkState::up, 5'000}};
    for (int second_of_minute = 0; second_of_minute < 59; ++second_of_minute) {
        complain(consumer_);
        complain(publisher_);
        world_.pass(1s);
    }
    EXPECT_EQ(info("ds2").state, "attached") << "it is they who are cut off";
}

TEST_F(DataTroubleTest, LeavesAStreamThatNobodyWatchesWhereItIs) {
    world_.leave(consumer_);
    world_.cut(consumer_.session);
    set_link(LinkState::down);
    EXPECT_EQ(publisher_.told.back().data_server, "ds1");
}

class OnlyDataServerTest : public DataTroubleTest {
  protected:
    OnlyDataServerTest() : DataTroubleTest(false) {}
};

TEST_F(OnlyDataServerTest, KeepsItsStreamsWhileNoOtherCanTakeThem) {
    const std::size_t said = publisher_.told.size();
    set_link(LinkState::down);
    world_.pass(20s);
    EXPECT_EQ(publisher_.told.size(), said);
    EXPECT_EQ(world_.phase("news"), "transmitting");
    EXPECT_EQ(first_.open.size(), 1U);
    world_.add_server("ds2");
    world_.pass(100ms);
    EXPECT_EQ(publisher_.told.back().data_server, "ds2") << "now one can";
    EXPECT_EQ(consumer_.told.back().data_server, "ds2");
}

}  // namespace
}  // namespace penstock::presence
