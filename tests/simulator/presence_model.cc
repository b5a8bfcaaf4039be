#include "simulator/presence_model.h"

#include "presence/recover.h"
#include "simulator/checker.h"
#include "simulator/network.h"
#include "simulator/operator_model.h"

#include <algorithm>
#include <utility>
#include <variant>

namespace penstock::simulator {
namespace {

constexpr seconds kLease{2};
constexpr milliseconds kLeaseMargin{500};
constexpr milliseconds kRenewInterval{500};
constexpr milliseconds kCampaignMost{500};
constexpr milliseconds kRestartAfter{200};
constexpr milliseconds kClosedWithin{2};  // the edge says that a call it closed is done
constexpr milliseconds kStoredWithin{10};
constexpr std::uint64_t kStepsPerCheck = 16;

}  // namespace

Arbiter::Arbiter(Random& random) {
    for (std::uint8_t& byte : facts_.master_key.bytes) {
        byte = static_cast<std::uint8_t>(random.next());
    }
}

std::optional<std::uint64_t> Arbiter::acquire(NodeId node, MonotonicTime now, nanoseconds lease) {
    if (now < lease_end_ && leader_ != node) {
        return std::nullopt;
    }
    leader_ = node;
    lease_end_ = now + lease;
    return ++facts_.epoch;
}

bool Arbiter::renew(NodeId node, std::uint64_t epoch, MonotonicTime now, nanoseconds lease) {
    if (leader_ != node || facts_.epoch != epoch || now >= lease_end_) {
        return false;
    }
    lease_end_ = now + lease;
    return true;
}

bool Arbiter::store(std::uint64_t epoch, const presence::Durable& facts) {
    if (epoch != facts_.epoch) {
        return false;
    }
    facts_ = facts;
    return true;
}

PresenceModel::PresenceModel(Surroundings& around,
                             NodeId id,
                             std::string name,
                             Arbiter& arbiter,
                             presence::Settings settings,
                             PresenceFlaw flaw)
    : Node(around, NodeKind::presence, id, std::move(name)),
      arbiter_(arbiter),
      settings_(settings),
      flaw_(flaw) {}

void PresenceModel::on_start() {
    if (around_.presences > 1) {
        campaign();
    } else if (!is_store_cut_) {
        lead(arbiter_.acquire(id(), now(), nanoseconds(0)).value());
    } else {
        after(kRestartAfter, [this] { on_start(); });  // its epoch cannot be made durable
    }
}

void PresenceModel::on_crash() {
    leads_ = false;
    state_ = {};
    reported_.clear();
    said_.clear();
}

void PresenceModel::campaign() {
    if (!is_store_cut_) {
        if (const auto epoch = arbiter_.acquire(id(), now(), kLease)) {
            lease_end_ = now() + kLease;
            lead(*epoch);
            hold_lease();
            return;
        }
    }
    after(around_.random.between(milliseconds(100), kCampaignMost), [this] { campaign(); });
}

void PresenceModel::hold_lease() {
    if (!is_store_cut_) {
        if (arbiter_.renew(id(), state_.facts.epoch, now(), kLease)) {
            lease_end_ = now() + kLease;
        } else {
            step_down();
            return;
        }
    } else if (now() >= lease_end_ - kLeaseMargin && !is_stale_) {
        step_down();
        return;
    }
    after(kRenewInterval, [this] { hold_lease(); });  // the lease's margin is as long
}

void PresenceModel::cut_store(bool is_stale) {
    is_store_cut_ = true;
    is_stale_ = is_stale;
}

void PresenceModel::mend_store() {
    is_store_cut_ = false;
    is_stale_ = false;
}

void PresenceModel::lead(std::uint64_t epoch) {
    say("leads with epoch {}", epoch);
    state_ = {};
    state_.settings = settings_;
    state_.random = [this] { return around_.random.next() | 1U; };
    presence::lead(state_, arbiter_.facts(), now());
    alarm_at_ = presence::kNever;
    leads_ = true;
    around_.checker->on_lead(id(), state_.facts);
}

void PresenceModel::step_down() {
    say("steps down");
    crash(false);
    around_.timeline.at(now() + kRestartAfter, [this] { start(); });
}

void PresenceModel::on_called(CallId call) {
    if (!leads_) {
        around_.network->end(call, Side::presence);
        return;
    }
    const Node& caller = around_.network->caller(call);
    const auto kind = caller.kind() == NodeKind::data_server ? presence::SessionKind::data_server
                      : caller.kind() == NodeKind::publisher ? presence::SessionKind::publisher
                                                             : presence::SessionKind::consumer;
    move(presence::SessionOpened{presence::SessionId{call}, kind});
}

void PresenceModel::on_message(CallId call, Message& message) {
    const presence::SessionId session{call};
    if (!leads_) {
        return;
    }
    if (auto* from_server = std::get_if<control::DataServerMessage>(&message)) {
        blind(*from_server);
        move(presence::FromDataServer{session, std::move(*from_server)});
    } else if (auto* from_publisher = std::get_if<control::PublisherMessage>(&message)) {
        move(presence::FromPublisher{session, std::move(*from_publisher)});
    } else {
        move(presence::FromConsumer{session,
                                    std::move(std::get<control::ConsumerMessage>(message))});
    }
}

void PresenceModel::on_ended(CallId call) {
    if (leads_) {
        move(presence::SessionClosed{presence::SessionId{call}});
    }
}

void PresenceModel::ask(std::uint64_t question, const control::ServerCommand& command) {
    if (is_running() && leads_) {
        move(presence::FromOperator{question, command});
    }
}

/// A stale leader goes on as if it had commanded before it could read this.
void PresenceModel::blind(control::DataServerMessage& message) const {
    if (!is_stale_) {
        return;
    }
    if (auto* hello = std::get_if<control::DataServerHello>(&message)) {
        hello->epoch_seen = std::min(hello->epoch_seen, state_.facts.epoch - 1);
    } else if (auto* applied = std::get_if<control::Applied>(&message)) {
        applied->epoch = std::min(applied->epoch, state_.facts.epoch);
    }
}

/// A data server has obeyed a later leader than this one.
bool PresenceModel::is_outranked(const presence::Event& event) const {
    const auto* said = std::get_if<presence::FromDataServer>(&event);
    if (around_.presences == 1 || said == nullptr || is_stale_) {
        return false;
    }
    const auto* hello = std::get_if<control::DataServerHello>(&said->message);
    const auto* applied = std::get_if<control::Applied>(&said->message);
    return (hello != nullptr && hello->epoch_seen > state_.facts.epoch) ||
           (applied != nullptr && applied->epoch > state_.facts.epoch);
}

bool PresenceModel::is_withheld(const presence::Event& event) {
    const auto* said = std::get_if<presence::FromDataServer>(&event);
    if (!flaw_.forgets_reports || said == nullptr) {
        return false;
    }
    if (std::holds_alternative<control::ReportsDone>(said->message)) {
        reported_.insert(said->session);
    }
    return std::holds_alternative<control::StreamReport>(said->message) &&
           !reported_.contains(said->session);
}

void PresenceModel::move(presence::Event event) {
    if (is_outranked(event)) {
        step_down();
        return;
    }
    if (is_withheld(event)) {
        return;
    }
    if (presence::next_deadline(state_) <= now()) {
        perform(presence::step(state_, presence::Tick{}, now()));
    }
    perform(presence::step(state_, std::move(event), now()));
    if (++steps_ % kStepsPerCheck == 0) {
        around_.checker->check_state(state_);
    }
    arm();
}

void PresenceModel::arm() {
    const MonotonicTime due = presence::next_deadline(state_);
    if (due >= alarm_at_) {
        return;
    }
    alarm_at_ = due;
    after(std::max(due - now(), nanoseconds(0)), [this, due] {
        if (due != alarm_at_) {
            return;
        }
        alarm_at_ = presence::kNever;
        if (presence::next_deadline(state_) <= now()) {
            perform(presence::step(state_, presence::Tick{}, now()));
            around_.checker->check_deadline(state_);
        }
        arm();
    });
}

void PresenceModel::perform(std::vector<presence::Action> actions) {
    for (presence::Action& action : actions) {
        std::visit([this](auto& what) { perform(what); }, action);
    }
}

void PresenceModel::perform(presence::ToDataServer& action) {
    if (const auto* set = std::get_if<control::StreamSet>(&action.message)) {
        around_.checker->on_set_sent(state_, around_.network->caller(action.session.value), *set);
    }
    around_.network->send(action.session.value, Side::presence, std::move(action.message));
}

void PresenceModel::perform(presence::ToPublisher& action) {
    if (const auto* desired = std::get_if<control::PublisherDesired>(&action.message)) {
        if (flaw_.says_once && !said_.insert(desired->version).second) {
            return;
        }
        around_.checker->on_desired_sent(
            state_, around_.network->caller(action.session.value), *desired);
    }
    around_.network->send(action.session.value, Side::presence, std::move(action.message));
}

void PresenceModel::perform(presence::ToConsumer& action) {
    if (const auto* assignment = std::get_if<control::Assignment>(&action.message)) {
        around_.checker->on_assignment_sent(
            state_, around_.network->caller(action.session.value), *assignment);
    }
    around_.network->send(action.session.value, Side::presence, std::move(action.message));
}

void PresenceModel::perform(presence::SendHeartbeats& action) {
    for (const presence::SessionId session : action.sessions) {
        Message heartbeat = control::PublisherReply(control::Heartbeat{});
        if (around_.network->caller(session.value).kind() == NodeKind::consumer) {
            heartbeat = control::ConsumerReply(control::Heartbeat{});
        }
        around_.network->send(session.value, Side::presence, std::move(heartbeat));
    }
}

void PresenceModel::perform(presence::StoreFacts& action) {
    after(around_.random.between(nanoseconds(0), kStoredWithin),
          [this, number = action.number, facts = std::move(action.facts)] {
              if (!leads_) {
                  return;
              }
              const bool is_stored = !is_store_cut_ && arbiter_.store(state_.facts.epoch, facts);
              move(presence::FactsStored{number, is_stored ? "" : "the store cannot be reached"});
          });
}

void PresenceModel::perform(presence::ToOperator& action) {
    say("answers an operator: {}", action.result.reason.empty() ? "done" : action.result.reason);
    around_.operators->on_answer(
        action.question, action.result, state_.facts.epoch, arbiter_.facts());
}

void PresenceModel::perform(presence::CloseSession& action) {
    const CallId call = action.session.value;
    around_.network->end(call, Side::presence);
    after(around_.random.between(nanoseconds(0), kClosedWithin), [this, call] { on_ended(call); });
}

}  // namespace penstock::simulator
