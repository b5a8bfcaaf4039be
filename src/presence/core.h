#pragma once

#include "presence/state.h"
#include "rpc/messages.h"
#include "rpc/operator_messages.h"

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace penstock::presence {

// ------------------------------------------------------------------------------ what happens

struct SessionOpened {
    SessionId session;
    SessionKind kind = SessionKind::data_server;
};
struct SessionClosed {
    SessionId session;
};
struct FromDataServer {
    SessionId session;
    control::DataServerMessage message;
};
struct FromPublisher {
    SessionId session;
    control::PublisherMessage message;
};
struct FromConsumer {
    SessionId session;
    control::ConsumerMessage message;
};
/// A message the edge could not make sense of; `reason` goes back to the peer.
struct Malformed {
    SessionId session;
    std::string reason;
};
/// What an operator wants of a data server; answered by a ToOperator of the same question.
struct FromOperator {
    std::uint64_t question = 0;
    control::ServerCommand command;
};
/// The facts of the StoreFacts of this number are durable, or `trouble` says why not.
struct FactsStored {
    std::uint64_t number = 0;
    std::string trouble;
};
/// Of several presence servers we lead from now on, with these facts, which are durable.
struct LeadershipWon {
    Durable facts;
};
/// Another one leads ("": not known which).
struct LeadershipLost {
    std::string leader;
};
/// The time of next_deadline() has come.
struct Tick {};

using Event = std::variant<SessionOpened,
                           SessionClosed,
                           FromDataServer,
                           FromPublisher,
                           FromConsumer,
                           Malformed,
                           FromOperator,
                           FactsStored,
                           LeadershipWon,
                           LeadershipLost,
                           Tick>;

// ------------------------------------------------------------------------------- what follows

struct ToDataServer {
    SessionId session;
    control::DataServerReply message;
};
struct ToPublisher {
    SessionId session;
    control::PublisherReply message;
};
struct ToConsumer {
    SessionId session;
    control::ConsumerReply message;
};
/// A Heartbeat to each of these publishers and consumers, who beat together by the hundred. Comes
/// before all else that follows from an event.
struct SendHeartbeats {
    std::vector<SessionId> sessions;
};
/// End the call once what was sent before has left. Nothing about the session follows.
struct CloseSession {
    SessionId session;
};

struct ToOperator {
    std::uint64_t question = 0;
    control::CommandResult result;
};
/// Make these facts durable and answer with FactsStored; one is outstanding at a time. Nothing that
/// depends on them leaves before the answer.
struct StoreFacts {
    std::uint64_t number = 0;
    Durable facts;
};

using Action = std::variant<ToDataServer,
                            ToPublisher,
                            ToConsumer,
                            SendHeartbeats,
                            CloseSession,
                            ToOperator,
                            StoreFacts>;

/// Moves `state` by one event, which it takes, and returns what is to be done, in order. Pure but
/// for `state`: no I/O, no clock, no thread. `now` never goes back. Events of sessions that are not
/// open are ignored, so that an event may cross a CloseSession.
[[nodiscard]] std::vector<Action> step(State& state, Event&& event, MonotonicTime now);

/// When the next Tick is due; kNever if nothing waits for time to pass.
[[nodiscard]] MonotonicTime next_deadline(const State& state);

}  // namespace penstock::presence
