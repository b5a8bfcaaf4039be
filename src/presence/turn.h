#pragma once

#include "base/prefetch.h"
#include "presence/core.h"

#include <chrono>
#include <string>
#include <utility>
#include <vector>

/// What the steps of a stream's life share inside one call of step().
namespace penstock::presence {

struct Turn {
    State& state;
    MonotonicTime now;
    std::vector<Action> actions;
    std::vector<SessionId> heartbeats = {};  // to be sent first

    void act(Action action) { actions.push_back(std::move(action)); }
    void log(LoggedEvent event) {
        event.at = now;
        state.events.append(std::move(event));
    }
};

/// `at + duration`, kNever if that is beyond the clock.
[[nodiscard]] inline MonotonicTime later(MonotonicTime at, std::chrono::nanoseconds duration) {
    return duration >= kNever - at ? kNever : at + duration;
}

/// An event about a stream and its present data server and publisher.
[[nodiscard]] inline LoggedEvent about(const Stream& stream,
                                       EventKind kind,
                                       std::string detail = "") {
    LoggedEvent event;
    event.kind = kind;
    event.stream = stream.name;
    event.data_server = stream.server;
    event.publisher = stream.publisher;
    event.detail = std::move(detail);
    return event;
}

/// Whoever asks for a stream uses much of it: its cache lines come at once, not one by one.
[[nodiscard]] inline Stream* find(State& state, StreamId id) {
    const auto found = state.streams.find(id);
    if (found == state.streams.end()) {
        return nullptr;
    }
    prefetch_for_write(found->second);
    return &found->second;
}

[[nodiscard]] inline DataServer* find_server(State& state, const std::string& name) {
    const auto found = state.servers.find(name);
    return found == state.servers.end() ? nullptr : &found->second;
}

/// The stream is the data server's from now on, or nobody's.
void put_on(Stream& stream, DataServer& server);
void take_off(Stream& stream);
/// Replaces the stream's flows.
void set_flows(State& state, Stream& stream, std::vector<control::ConsumerFlow> flows);
/// The stream is not open any more where it was: nobody is proven there.
void forget_flows(State& state, Stream& stream);
/// Counts the stream's consumers anew for the limits of its data servers. To be called when they or
/// its rate have changed.
void count_watchers(State& state, Stream& stream);
/// A stream that moves is at both data servers: its consumers count at either. `server`: that of
/// `stream.move`.
void put_other(Stream& stream, DataServer& server);
void take_off_other(State& state, Stream& stream);
/// The consumer has a flow.
[[nodiscard]] bool has_flow(const std::vector<control::ConsumerFlow>& flows, PeerId consumer);

/// The stream of this name, made if it is new; nullptr if there are streams_max already.
Stream* find_or_make_stream(Turn& turn, const std::string& name);

/// Takes the next step of a stream as far as it goes now: assigns, stops, closes, forgets; tells
/// its publisher and consumers; sets its timer. To be called after whatever changed the stream.
/// The stream is left in place unless it was forgotten, which only time does.
void advance(Turn& turn, Stream& stream);

/// Somebody's session wants the stream, or a flow of it is installed.
[[nodiscard]] bool is_watched(const Stream& stream) noexcept;

/// Presence has just begun to lead, and publishers may not have come back yet: nobody is told that
/// a stream is absent, and nothing is assigned unless all data servers are known to be back.
[[nodiscard]] bool is_settling(const State& state, MonotonicTime now) noexcept;

/// A former presence's data servers are not all back yet: nothing is closed or stopped.
[[nodiscard]] bool is_recovering(const State& state, MonotonicTime now) noexcept;

/// Until when this stream is not assigned and its publisher told nothing; `now` if it is not held.
[[nodiscard]] MonotonicTime held_until(const State& state,
                                       const Stream& stream,
                                       MonotonicTime now) noexcept;

/// When something that removes may be done that is due at `due`.
[[nodiscard]] MonotonicTime not_before_recovery(const State& state,
                                                MonotonicTime due,
                                                MonotonicTime now) noexcept;

}  // namespace penstock::presence
