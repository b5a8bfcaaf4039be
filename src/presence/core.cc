#include "presence/core.h"

#include "base/check.h"
#include "presence/assign_publisher.h"
#include "presence/attach.h"
#include "presence/duty.h"
#include "presence/find_stream.h"
#include "presence/open_stream.h"
#include "presence/rebalance.h"
#include "presence/recover.h"
#include "presence/sessions.h"
#include "presence/stop_stream.h"
#include "presence/turn.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace penstock::presence {
namespace {

constexpr std::chrono::milliseconds kLateMost{300};  // of a Tick; later, and we were stopped

template <typename... Handlers>
struct Overloaded : Handlers... {
    using Handlers::operator()...;
};
template <typename... Handlers>
Overloaded(Handlers...) -> Overloaded<Handlers...>;

/// The session of a message, if it is open and of the right kind. `is_hello`: the message is the
/// one that must come first, and only first.
Session* speaker(Turn& turn, SessionId id, SessionKind kind, bool is_hello) {
    Session* const found = turn.state.sessions.find(id);
    if (found == nullptr) {
        return nullptr;
    }
    Session& session = *found;
    PENSTOCK_CHECK(session.kind == kind);
    if (session.greeted == is_hello) {
        reject(turn,
               id,
               is_hello ? "a second hello in one session; open another"
                        : "the first message must say who is calling");
        return nullptr;
    }
    session.heard_at = turn.now;
    return &session;
}

void take(Turn& turn, FromDataServer& event) {
    const auto* hello = std::get_if<control::DataServerHello>(&event.message);
    const Session* session =
        speaker(turn, event.session, SessionKind::data_server, hello != nullptr);
    if (session == nullptr) {
        return;
    }
    if (hello != nullptr) {
        attach(turn, event.session, *hello);
        return;
    }
    DataServer& server = *session->server;
    std::visit(
        Overloaded{[](const control::DataServerHello&) {},
                   [&](control::LoadReport& load) { take_load(turn, server, std::move(load)); },
                   [&](const control::Applied& applied) { take_applied(turn, server, applied); },
                   [&](control::StreamReport& report) {
                       take_stream_report(turn, server, std::move(report));
                   },
                   [&](const control::ReportsDone&) { finish_reports(turn, server); }},
        event.message);
}

void take(Turn& turn, const FromPublisher& event) {
    const auto* hello = std::get_if<control::PublisherHello>(&event.message);
    const Session* session = speaker(turn, event.session, SessionKind::publisher, hello != nullptr);
    if (session == nullptr) {
        return;
    }
    if (hello != nullptr) {
        request_publish(turn, event.session, *hello);
    } else if (const auto* report = std::get_if<control::PublisherReport>(&event.message)) {
        take_publisher_report(turn, *session->stream, *report);
    }
}

void take(Turn& turn, const FromConsumer& event) {
    const auto* request = std::get_if<control::ConsumerRequest>(&event.message);
    const Session* session =
        speaker(turn, event.session, SessionKind::consumer, request != nullptr);
    if (session == nullptr) {
        return;
    }
    if (request != nullptr) {
        request_stream(turn, event.session, *request);
    } else if (const auto* renew = std::get_if<control::ConsumerRenew>(&event.message)) {
        renew_ticket(turn, *session->consumer, *renew);
    }
}

void take(Turn& turn, const SessionOpened& event) {
    open_session(turn, event.session, event.kind);
    if (!turn.state.leads) {
        turn_away(turn, event.session);
    }
}

void take(Turn& turn, const SessionClosed& event) { session_closed(turn, event.session); }

void take(Turn& turn, const Malformed& event) { reject(turn, event.session, event.reason); }

void take(Turn& turn, const FromOperator& event) { take_command(turn, event); }

void take(Turn& turn, const FactsStored& event) { take_stored(turn, event); }

void take(Turn& turn, const LeadershipWon& event) {
    turn_all_away(turn);
    lead(turn.state, event.facts, turn.now);
}

void take(Turn& turn, const LeadershipLost& event) {
    if (turn.state.leads) {
        // Also has those who follow the events look again: there is nothing more for them here.
        LoggedEvent lost;
        lost.kind = EventKind::leadership_lost;
        lost.detail = event.leader.empty() ? "not known who leads" : event.leader + " leads";
        turn.log(std::move(lost));
    }
    turn.state.leader = event.leader;
    turn_all_away(turn);
    follow(turn.state, event.leader);
}

/// Everything that is due. What becomes due meanwhile waits for the next Tick, so that a timer set
/// to the past cannot hold the core.
void take(Turn& turn, const Tick&) {
    if (const MonotonicTime due = next_deadline(turn.state); turn.now >= later(due, kLateMost)) {
        excuse_silence(turn, turn.now - due + kLateMost);
    }
    const std::vector<SessionId> sessions =
        turn.state.session_timers.take_due(turn.state.sessions, turn.now);
    turn.heartbeats.reserve(sessions.size());  // most of them get theirs
    for (const SessionId session : sessions) {
        attend_session(turn, session);
    }
    for (const StreamId id : turn.state.stream_timers.take_due(turn.state.streams, turn.now)) {
        if (Stream* stream = find(turn.state, id)) {
            advance(turn, *stream);
        }
    }
    rebalance(turn);
}

}  // namespace

std::vector<Action> step(State& state, Event&& event, MonotonicTime now) {
    Turn turn{state, now, {}};
    std::visit([&](auto& what) { take(turn, what); }, event);
    finish_recovery(turn);
    store_again(turn);
    if (!turn.heartbeats.empty()) {
        turn.actions.insert(turn.actions.begin(), SendHeartbeats{std::move(turn.heartbeats)});
    }
    return std::move(turn.actions);
}

MonotonicTime next_deadline(const State& state) {
    return std::min({state.session_timers.next(),
                     state.stream_timers.next(),
                     recovery_due(state),
                     rebalance_due(state),
                     state.store_again_at});
}

}  // namespace penstock::presence
