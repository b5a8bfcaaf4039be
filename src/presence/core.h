#pragma once

#include "presence/state.h"
#include "rpc/messages.h"

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
/// The time of next_deadline() has come.
struct Tick {};

using Event = std::variant<SessionOpened,
                           SessionClosed,
                           FromDataServer,
                           FromPublisher,
                           FromConsumer,
                           Malformed,
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
/// End the call once what was sent before has left. Nothing about the session follows.
struct CloseSession {
    SessionId session;
};

using Action = std::variant<ToDataServer, ToPublisher, ToConsumer, CloseSession>;

/// Moves `state` by one event and returns what is to be done, in order. Pure but for `state`: no
/// I/O, no clock, no thread. `now` never goes back. Events of sessions that are not open are
/// ignored, so that an event may cross a CloseSession.
[[nodiscard]] std::vector<Action> step(State& state, const Event& event, MonotonicTime now);

/// When the next Tick is due; kNever if nothing waits for time to pass.
[[nodiscard]] MonotonicTime next_deadline(const State& state);

}  // namespace penstock::presence
