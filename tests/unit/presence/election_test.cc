#include "presence/election.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace penstock::presence {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// An etcd that does what no real one can be brought to do on purpose. Two clients may share it.
class ScriptedEtcd final : public KeyValueService {
  public:
    Result<LeaseTerms> grant(std::chrono::seconds wanted) override {
        if (is_down) {
            return down();
        }
        return LeaseTerms{++leases, std::max(wanted, length)};
    }
    Result<std::optional<LeaseTerms>> keep_alive(std::int64_t lease,
                                                 std::chrono::milliseconds most) override {
        ++renewals;
        waited_most = most;
        on_renewal();
        if (is_down) {
            return down();
        }
        const bool is_there = keys.leader.has_value() && keys.leader->lease == lease;
        return is_there || leases_outlive_keys ? std::optional(LeaseTerms{lease, 3s})
                                               : std::nullopt;
    }
    Result<void> revoke(std::int64_t lease) override {
        revoked.push_back(lease);
        if (is_down) {
            return down();
        }
        if (keys.leader.has_value() && keys.leader->lease == lease) {
            keys.leader.reset();
        }
        return {};
    }
    Result<ElectionKeys> read(std::chrono::milliseconds /*most*/) override {
        return is_down || reads_fail ? down() : Result<ElectionKeys>(keys);
    }
    Result<ElectionKeys> campaign(const std::string& address, std::int64_t lease) override {
        before_campaign();
        if (!keys.leader.has_value()) {
            ++revision;
            keys.leader = KeyValue{address, revision, revision, lease};
        }
        return loses_answers ? down() : Result<ElectionKeys>(keys);
    }
    Result<ElectionKeys> write_facts(const std::string& text,
                                     std::int64_t create_revision,
                                     std::int64_t mod_revision) override {
        const std::int64_t present = keys.facts.has_value() ? keys.facts->mod_revision : 0;
        if (keys.leader.has_value() && keys.leader->create_revision == create_revision &&
            present == mod_revision) {
            keys.facts = KeyValue{text, 1, ++revision, 0};
            ++writes;
        }
        on_write();
        return loses_answers ? down() : Result<ElectionKeys>(keys);
    }

    ElectionKeys keys;
    std::int64_t revision = 40;
    std::int64_t leases = 0;
    std::chrono::seconds length{0};  // of a lease, at least
    int renewals = 0;
    std::chrono::milliseconds waited_most{0};  // for the newest renewal
    int writes = 0;
    bool is_down = false;
    bool reads_fail = false;
    bool leases_outlive_keys = false;
    bool loses_answers = false;  // what was asked is done, and nobody hears of it
    std::vector<std::int64_t> revoked;
    std::function<void()> before_campaign = [] {};
    std::function<void()> on_renewal = [] {};
    std::function<void()> on_write = [] {};

  private:
    static Error down() { return {ErrorCode::timed_out, "etcd 10.0.0.1:2379: no answer in time"}; }
};

class ElectionTest : public testing::Test, private ElectionEvents {
  protected:
    ElectionTest()
        : store_(etcd_),
          election_({.address = "10.0.0.1:7400",
                     .first_facts =
                         [] {
                             Durable first;
                             first.epoch = 7;
                             return first;
                         },
                     .now = [this] { return now_; }},
                    etcd_,
                    store_,
                    gate_,
                    *this) {}

    void other_leads() { etcd_.keys.leader = KeyValue{"10.0.0.2:7400", ++etcd_.revision, 1, 99}; }
    [[nodiscard]] bool may_command() const { return gate_.is_open(now_); }
    /// At its next renewal.
    void expect_leadership_lost() {
        now_ += Election::kRenewal;
        election_.turn();
        EXPECT_FALSE(may_command());
    }
    [[nodiscard]] Durable stored() const {
        return from_facts(facts_of(etcd_.keys.facts->value).value()).value();
    }

    ScriptedEtcd etcd_;
    EtcdStore store_;
    CommandGate gate_;
    BootTime now_{std::chrono::hours(1)};
    std::vector<std::string> told_;  // "won EPOCH", "follows LEADER"
    std::function<void()> on_follows_ = [] {};
    Election election_;

  private:
    void won(const Durable& facts) override {
        EXPECT_EQ(stored(), facts) << "durable before anybody hears of it";
        told_.push_back("won " + std::to_string(facts.epoch));
    }
    void follows(const std::string& leader) override {
        EXPECT_FALSE(may_command()) << "nothing may leave when it is told";
        told_.push_back("follows " + leader);
        on_follows_();
    }
};

TEST_F(ElectionTest, IsWonByWhoMakesTheKey) {
    EXPECT_FALSE(may_command());
    EXPECT_EQ(election_.turn(), Election::kRenewal);
    EXPECT_THAT(told_, ElementsAre("won 41")) << "the revision that made the key";
    EXPECT_TRUE(may_command());
    EXPECT_EQ(etcd_.keys.leader->value, "10.0.0.1:7400");
}

TEST_F(ElectionTest, FollowsWhoeverHasTheKeyAndTellsOfItOnce) {
    other_leads();
    EXPECT_EQ(election_.turn(), Election::kPoll);
    EXPECT_EQ(election_.turn(), Election::kPoll);
    EXPECT_THAT(told_, ElementsAre("follows 10.0.0.2:7400"));
    EXPECT_EQ(etcd_.leases, 0);
}

TEST_F(ElectionTest, TellsNobodyOfALeaderThatIsNoAddress) {
    for (const std::string& nonsense :
         {std::string(), std::string("two words"), std::string("a\nline"), std::string(256, 'x')}) {
        etcd_.keys.leader = KeyValue{nonsense, 5, 5, 99};
        election_.turn();
    }
    EXPECT_THAT(told_, IsEmpty());
    EXPECT_EQ(etcd_.leases, 0);
}

TEST_F(ElectionTest, TrustsInNoLeaseForLongerThanItAskedFor) {
    etcd_.length = 1h;
    election_.turn();
    now_ += 2'500ms;
    EXPECT_FALSE(may_command());
}

TEST_F(ElectionTest, KnowsNoLeaderWhenEtcdWasSilentForTheLengthOfALease) {
    other_leads();
    election_.turn();
    etcd_.is_down = true;
    now_ += 2'999ms;
    election_.turn();
    EXPECT_THAT(told_, ElementsAre("follows 10.0.0.2:7400"));
    now_ += 1ms;
    election_.turn();
    election_.turn();
    EXPECT_THAT(told_, ElementsAre("follows 10.0.0.2:7400", "follows "));
    etcd_.is_down = false;
    election_.turn();
    EXPECT_THAT(told_, ElementsAre("follows 10.0.0.2:7400", "follows ", "follows 10.0.0.2:7400"));
}

TEST_F(ElectionTest, FollowsWhoWasFasterAndGivesItsLeaseBack) {
    etcd_.before_campaign = [this] { other_leads(); };
    election_.turn();
    EXPECT_THAT(told_, ElementsAre("follows 10.0.0.2:7400"));
    EXPECT_THAT(etcd_.revoked, ElementsAre(1));
}

TEST_F(ElectionTest, TakesNoLeaderFromAFormerLifeOfItsOwn) {
    etcd_.keys.leader = KeyValue{"10.0.0.1:7400", 5, 5, 99};
    election_.turn();
    EXPECT_THAT(told_, ElementsAre("follows "));
}

TEST_F(ElectionTest, CountsTheEpochOnFromTheFactsIfTheRevisionIsLower) {
    Durable facts;
    facts.epoch = 1'000'000;
    facts.servers = {"ds1"};
    etcd_.keys.facts = KeyValue{to_text(to_facts(facts)), 3, 9, 0};
    election_.turn();
    EXPECT_THAT(told_, ElementsAre("won 1000001"));
    EXPECT_TRUE(stored().servers.contains("ds1"));
}

TEST_F(ElectionTest, RefusesToLeadByDamagedFacts) {
    for (const char* text : {"", "epoch\t7\n", "nonsense"}) {
        etcd_.keys.facts = KeyValue{text, 3, 9, 0};
        election_.turn();
        EXPECT_FALSE(may_command());
        EXPECT_FALSE(etcd_.keys.leader.has_value()) << "somebody else may try";
    }
    EXPECT_THAT(told_, IsEmpty());
    EXPECT_EQ(etcd_.writes, 0);
}

TEST_F(ElectionTest, DoesNotLeadIfItHeardNothingOfItsVictory) {
    etcd_.loses_answers = true;
    election_.turn();
    EXPECT_THAT(told_, IsEmpty());
    EXPECT_FALSE(may_command());
    EXPECT_FALSE(etcd_.keys.leader.has_value()) << "without the lease the key is gone";
}

TEST_F(ElectionTest, DoesNotLeadIfItsEpochTookTooLongToBecomeDurable) {
    etcd_.on_write = [this] { now_ += 2'500ms; };
    election_.turn();
    EXPECT_THAT(told_, IsEmpty());
    EXPECT_FALSE(may_command());
    EXPECT_FALSE(etcd_.keys.leader.has_value());
}

TEST_F(ElectionTest, BacksOffWhileEtcdDoesNotAnswer) {
    etcd_.is_down = true;
    EXPECT_EQ(election_.turn(), 100ms);
    EXPECT_EQ(election_.turn(), 200ms);
    for (int i = 0; i < 5; ++i) {
        election_.turn();
    }
    EXPECT_EQ(election_.turn(), Election::kRetryMost);
    etcd_.is_down = false;
    election_.turn();
    EXPECT_THAT(told_, ElementsAre("won 41"));
}

TEST_F(ElectionTest, CommandsUntilHalfASecondBeforeTheLeaseCanEnd) {
    election_.turn();
    now_ += 2'499ms;
    EXPECT_TRUE(may_command());
    now_ += 1ms;
    EXPECT_FALSE(may_command()) << "whatever its threads are doing";
}

TEST_F(ElectionTest, CountsALeaseFromBeforeItsRenewalWasSent) {
    election_.turn();
    now_ += 1s;
    etcd_.on_renewal = [this] { now_ += 1s; };
    EXPECT_EQ(election_.turn(), Election::kRenewal);
    now_ += 1'499ms;
    EXPECT_TRUE(may_command());
    now_ += 1ms;
    EXPECT_FALSE(may_command());
}

TEST_F(ElectionTest, LeadsOnWhileRenewalsFailUntilItsTimeIsOver) {
    election_.turn();
    etcd_.is_down = true;
    now_ += 2'400ms;
    EXPECT_EQ(election_.turn(), Election::kRetryFirst);
    EXPECT_THAT(told_, ElementsAre("won 41"));
    now_ += 100ms;
    election_.turn();
    EXPECT_THAT(told_, ElementsAre("won 41", "follows "));
}

TEST_F(ElectionTest, WaitsForNoAnswerLongerThanItMayLead) {
    election_.turn();
    etcd_.is_down = true;
    now_ += 2'470ms;
    EXPECT_EQ(election_.turn(), 30ms) << "then it is over";
    EXPECT_EQ(etcd_.waited_most, 30ms);
    etcd_.on_renewal = [this] { now_ += etcd_.waited_most; };
    election_.turn();
    election_.turn();
    EXPECT_THAT(told_, ElementsAre("won 41", "follows "));
}

TEST_F(ElectionTest, TellsThatItLeadsNoMoreThoughTheStoreIsInAWriteWithoutAnswer) {
    election_.turn();
    std::promise<void> is_writing;
    std::promise<void> may_end;
    std::promise<void> is_told;
    etcd_.on_write = [&] {
        is_writing.set_value();
        may_end.get_future().wait();
    };
    on_follows_ = [&] { is_told.set_value(); };
    Durable facts = stored();
    facts.servers = {"ds1"};
    std::thread writer([&] { static_cast<void>(store_.write(facts)); });
    is_writing.get_future().wait();
    now_ += 2'500ms;
    std::thread elector([&] { election_.turn(); });
    EXPECT_EQ(is_told.get_future().wait_for(10s), std::future_status::ready);
    may_end.set_value();
    writer.join();
    elector.join();
}

TEST_F(ElectionTest, SaysWhenAnotherLeadsWithItsAddress) {
    etcd_.keys.leader = KeyValue{"10.0.0.1:7400", 5, 5, 99};
    election_.turn();
    now_ += 8'999ms;
    EXPECT_EQ(election_.turn(), Election::kPoll) << "it may be a life of ours before this one";
    testing::internal::CaptureStderr();
    now_ += 1ms;
    election_.turn();
    election_.turn();
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_THAT(said, HasSubstr("another presence server leads with our address 10.0.0.1:7400"));
    EXPECT_EQ(said.find("another presence"), said.rfind("another presence")) << said;
    other_leads();
    EXPECT_EQ(election_.turn(), Election::kPoll);
}

TEST_F(ElectionTest, LeadsNoMoreAfterAPauseEvenIfEtcdWouldRenew) {
    election_.turn();
    now_ += 2'500ms;
    election_.turn();
    EXPECT_THAT(told_, ElementsAre("won 41", "follows "));
    EXPECT_EQ(etcd_.renewals, 0);
    EXPECT_FALSE(etcd_.keys.leader.has_value()) << "given back for the next";
    election_.turn();
    EXPECT_THAT(told_, ElementsAre("won 41", "follows ", "won 43")) << "a new epoch";
}

TEST_F(ElectionTest, LeadsNoMoreIfARenewalTookTooLong) {
    election_.turn();
    now_ += 2s;
    etcd_.on_renewal = [this] { now_ += 500ms; };
    election_.turn();
    EXPECT_FALSE(may_command());
    EXPECT_THAT(told_, ElementsAre("won 41", "follows ")) << "commands may have been held back";
}

TEST_F(ElectionTest, LeadsNoMoreWhenItsLeaseIsGone) {
    election_.turn();
    other_leads();
    expect_leadership_lost();
    election_.turn();
    EXPECT_THAT(told_, ElementsAre("won 41", "follows ", "follows 10.0.0.2:7400"));
}

TEST_F(ElectionTest, LeadsNoMoreWhenItsKeyIsGoneThoughItsLeaseLives) {
    election_.turn();
    etcd_.leases_outlive_keys = true;
    etcd_.keys.leader.reset();
    expect_leadership_lost();
    EXPECT_THAT(told_, ElementsAre("won 41", "follows "));
    EXPECT_THAT(etcd_.revoked, ElementsAre(1));
}

TEST_F(ElectionTest, LeadsNoMoreWhenAnotherHasMadeTheKeyAnew) {
    election_.turn();
    etcd_.leases_outlive_keys = true;
    other_leads();
    expect_leadership_lost();
    election_.turn();
    EXPECT_THAT(told_, ElementsAre("won 41", "follows ", "follows 10.0.0.2:7400"));
}

TEST_F(ElectionTest, ExtendsNothingWhileItCannotSeeWhoseTheKeyIs) {
    election_.turn();
    etcd_.reads_fail = true;
    now_ += 400ms;
    EXPECT_EQ(election_.turn(), Election::kRetryFirst);
    EXPECT_THAT(told_, ElementsAre("won 41"));
    now_ += 2'099ms;
    EXPECT_TRUE(may_command());
    now_ += 1ms;
    EXPECT_FALSE(may_command()) << "the lease was renewed, but not for us";
    election_.turn();
    EXPECT_THAT(told_, ElementsAre("won 41", "follows "));
}

TEST_F(ElectionTest, HasNobodyWaitForItsLeaseOnceEtcdAnswersAgain) {
    election_.turn();
    etcd_.is_down = true;
    now_ += 2'500ms;
    election_.turn();
    EXPECT_TRUE(etcd_.keys.leader.has_value()) << "etcd has not heard of the end";
    etcd_.is_down = false;
    election_.turn();
    EXPECT_THAT(told_, ElementsAre("won 41", "follows ", "won 43"));
}

TEST_F(ElectionTest, EndsNobodyElsesLease) {
    election_.turn();
    etcd_.is_down = true;
    now_ += 2'500ms;
    election_.turn();
    etcd_.is_down = false;
    other_leads();
    election_.turn();
    EXPECT_THAT(told_, ElementsAre("won 41", "follows ", "follows 10.0.0.2:7400"));
    EXPECT_THAT(etcd_.revoked, ElementsAre(1)) << "its own, when it lost it";
}

TEST_F(ElectionTest, ResignsWithoutLettingOthersWait) {
    election_.turn();
    election_.resign();
    EXPECT_FALSE(may_command());
    EXPECT_FALSE(etcd_.keys.leader.has_value());
}

TEST_F(ElectionTest, StoreWritesNothingOnceAnotherLeads) {
    election_.turn();
    Durable facts = stored();
    facts.servers = {"ds1"};
    ASSERT_TRUE(store_.write(facts).ok());
    other_leads();
    facts.epoch = 500;
    const auto refused = store_.write(facts);
    ASSERT_FALSE(refused.ok());
    EXPECT_THAT(refused.error().message, HasSubstr("does not lead any more"));
    EXPECT_EQ(stored().epoch, 41);
}

TEST_F(ElectionTest, StoreWritesNoFactsOfALeadershipBeforeThePresentOne) {
    election_.turn();
    Durable late = stored();
    now_ += 2'500ms;
    election_.turn();
    election_.turn();
    ASSERT_THAT(told_, ElementsAre("won 41", "follows ", "won 43"));
    late.servers = {"ds1"};
    const auto refused = store_.write(late);
    ASSERT_FALSE(refused.ok());
    EXPECT_THAT(refused.error().message, HasSubstr("leads in epoch 43 by now"));
    EXPECT_EQ(stored().epoch, 43);
    late.epoch = 43;
    EXPECT_TRUE(store_.write(late).ok());
}

TEST_F(ElectionTest, StoreSucceedsAfterAWriteWhoseAnswerWasLost) {
    election_.turn();
    Durable facts = stored();
    facts.servers = {"ds1"};
    etcd_.loses_answers = true;
    const auto unknown = store_.write(facts);
    ASSERT_FALSE(unknown.ok());
    EXPECT_THAT(unknown.error().message, HasSubstr("most members of the cluster"));
    etcd_.loses_answers = false;
    facts.servers = {"ds1", "ds2"};
    EXPECT_TRUE(store_.write(facts).ok());
    EXPECT_EQ(stored(), facts);
}

}  // namespace
}  // namespace penstock::presence
