#include "presence/sessions.h"

#include "base/protocol.h"
#include "presence/attach.h"
#include "presence/find_stream.h"
#include "presence/open_stream.h"
#include "presence/stop_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace penstock::presence {
namespace {

/// What hung on a session that is over.
void lose_peer(Turn& turn, SessionId id, const Session& session, const std::string& reason) {
    if (!session.greeted) {
        return;
    }
    switch (session.kind) {
        case SessionKind::data_server:
            if (session.server->session == id) {
                detach(turn, *session.server, reason);
            }
            break;
        case SessionKind::publisher:
            if (session.stream->publisher_session == id) {
                lose_publisher(turn, *session.stream);
            }
            break;
        case SessionKind::consumer:
            leave(turn, *session.consumer);
            break;
    }
}

MonotonicTime silence_end(const Session& session) {
    if (!session.greeted) {
        return session.heard_at + kHelloDeadline;
    }
    return session.heard_at + (session.kind == SessionKind::data_server
                                   ? std::chrono::nanoseconds(kDataServerSilence)
                                   : std::chrono::nanoseconds(kPeerSilence));
}

void send_heartbeat(Turn& turn, SessionId id, Session& session) {
    if (!session.greeted || session.kind == SessionKind::data_server ||
        turn.now < session.beat_at) {
        return;
    }
    // In step with its beats before: whoever was late with others is not with them from then on.
    session.beat_at += ((turn.now - session.beat_at) / kHeartbeatInterval + 1) * kHeartbeatInterval;
    turn.heartbeats.push_back(id);
}

}  // namespace

std::string protocol_objection(std::uint32_t newest, std::uint32_t oldest) {
    const std::uint32_t least = oldest == 0 ? newest : oldest;
    if (newest >= kProtocols.oldest && least <= kProtocols.newest && least <= newest) {
        return "";
    }
    return fmt::format("protocol {} to {} is not spoken here, only {} to {}: upgrade the older",
                       least,
                       newest,
                       kProtocols.oldest,
                       kProtocols.newest);
}

void open_session(Turn& turn, SessionId id, SessionKind kind) {
    Session& session = turn.state.sessions.add(id, kind);
    session.heard_at = turn.now;
    session.beat_at = turn.now + kHeartbeatInterval;
    arm_session(turn, id);
}

void session_closed(Turn& turn, SessionId id) {
    const Session* const found = turn.state.sessions.find(id);
    if (found == nullptr) {
        return;
    }
    const Session session = *found;
    turn.state.sessions.erase(id);
    turn.state.session_timers.forget(turn.state.sessions, id);
    lose_peer(turn, id, session, "its session broke off");
}

void end_session(Turn& turn, SessionId id, const std::string& reason) {
    const Session* const found = turn.state.sessions.find(id);
    if (found == nullptr) {
        return;
    }
    const Session session = *found;
    drop_session(turn, id);
    lose_peer(turn, id, session, reason);
}

void drop_session(Turn& turn, SessionId id) {
    turn.state.sessions.erase(id);
    turn.state.session_timers.forget(turn.state.sessions, id);
    turn.act(CloseSession{id});
}

void reject(Turn& turn, SessionId id, std::string reason, std::uint32_t retry_after_ms) {
    const Session* const session = turn.state.sessions.find(id);
    if (session == nullptr) {
        return;
    }
    control::Reject message{std::move(reason), retry_after_ms, {}};
    const std::string text = message.reason;
    switch (session->kind) {
        case SessionKind::data_server:
            turn.act(ToDataServer{id, std::move(message)});
            break;
        case SessionKind::publisher:
            turn.act(ToPublisher{id, std::move(message)});
            break;
        case SessionKind::consumer:
            turn.act(ToConsumer{id, std::move(message)});
            break;
    }
    end_session(turn, id, text);
}

void excuse_silence(Turn& turn, std::chrono::nanoseconds late) {
    for (const SessionId id : turn.state.sessions.ids()) {
        Session& session = turn.state.sessions.at(id);
        session.heard_at = std::min(turn.now, session.heard_at + late);
        arm_session(turn, id);
    }
}

void attend_session(Turn& turn, SessionId id) {
    Session* const found = turn.state.sessions.find(id);
    if (found == nullptr) {
        return;
    }
    Session& session = *found;
    if (turn.now >= silence_end(session)) {
        if (session.greeted) {
            end_session(turn, id, "nothing was heard of it in time");
        } else {
            reject(turn, id, "no hello came within 5 s of the opening of the session");
        }
        return;
    }
    send_heartbeat(turn, id, session);
    if (session.kind == SessionKind::data_server) {
        if (DataServer* server = session.server) {
            close_spared(turn, *server);
            if (!resend_set(turn, *server)) {
                end_session(turn, id, "it does not acknowledge its streams");
                return;
            }
        }
    } else if (turn.now >= session.wait_until) {
        end_wait(turn, *session.consumer);
    }
    arm_session(turn, id);
}

void arm_session(Turn& turn, SessionId id) {
    Session* const found = turn.state.sessions.find(id);
    if (found == nullptr) {
        return;
    }
    Session& session = *found;
    MonotonicTime due = silence_end(session);
    if (session.kind != SessionKind::data_server) {
        due = session.greeted ? std::min({due, session.beat_at, session.wait_until}) : due;
    } else if (const DataServer* server = session.server) {
        if (server->in_flight) {
            due = std::min(due, server->sent_at + kResendInterval);
            due = std::min(due, server->unanswered_since + kSetPatience);
        }
        if (!server->spared.empty()) {
            due = std::min(due, turn.state.started_at + kSettlePeriod);
        }
    }
    turn.state.session_timers.set(turn.state.sessions, id, session.deadline, due);
}

}  // namespace penstock::presence
