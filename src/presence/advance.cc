#include "presence/assign_publisher.h"
#include "presence/find_stream.h"
#include "presence/move_stream.h"
#include "presence/open_stream.h"
#include "presence/stop_stream.h"
#include "presence/turn.h"

#include <algorithm>
#include <utility>

namespace penstock::presence {
namespace {

using control::DesiredState;

bool wants_data_server(const Stream& stream) {
    return stream.publisher_session && (stream.start_requested || is_watched(stream));
}

/// On no data server: WAIT, or the way to START.
void leave_idle(Turn& turn, Stream& stream) {
    if (held_until(turn.state, stream, turn.now) > turn.now) {
        if (stream.publisher_session) {
            turn.state.unplaced.insert(stream.id);
        }
        return;
    }
    if (stream.publisher_session && stream.desired == DesiredState::unspecified) {
        direct_publisher(turn, stream, DesiredState::wait);
    }
    if (!wants_data_server(stream)) {
        turn.state.unplaced.erase(stream.id);
    } else {
        assign_publisher(turn, stream);
    }
}

/// Adopted, with its publisher here. As long as presence has just started and the publisher
/// transmits there, it is told nothing: another data server may still say that it is the place.
void start_undirected(Turn& turn, Stream& stream) {
    const bool may_wait = stream.transmitting && is_settling(turn.state, turn.now);
    if (stream.publisher_session && stream.desired == DesiredState::unspecified && !may_wait) {
        stream.unwatched_since.reset();  // close-after begins with its publisher
        direct_publisher(turn, stream, DesiredState::start);
    }
}

/// The publisher, who obeyed, says nothing against the data server that we have lost: it may be we
/// who are cut off from it.
bool may_still_flow(const Stream& stream) {
    return is_watched(stream) && stream.publisher_session && stream.acknowledged &&
           stream.trouble.empty();
}

/// Its data server is lost: to another one, or back to WAIT. Not at once if nobody watches: what
/// has cut us off from the data server may have cut us off from the consumers, too.
void leave_displaced(Turn& turn, Stream& stream) {
    if (!stream.publisher) {
        finish_close(turn, stream);  // adopted, never claimed, and lost again: nobody to stop
        return;
    }
    const bool may_move = stream.publisher_session && is_watched(stream);
    if (may_move && assign_publisher(turn, stream)) {
        return;
    }
    const bool is_late = turn.now >= *stream.displaced_since + kDisplacedPatience;
    if (is_late && !may_still_flow(stream) && !is_recovering(turn.state, turn.now)) {
        stop_stream(turn, stream);
    }
}

/// When a publisher that was directed and has not been accepted needs a fresh ticket.
MonotonicTime renewal_due(const State& state, const Stream& stream) {
    if (stream.step != StreamStep::started || stream.transmitting || !stream.acknowledged ||
        !stream.publisher_session || stream.desired != DesiredState::start) {
        return kNever;
    }
    const auto half = state.settings.ticket_lifetime / 2;
    return stream.ticket_at + (stream.trouble.empty()
                                   ? half
                                   : std::min<std::chrono::nanoseconds>(half, kTroubleRenewal));
}

/// When a publisher that does not acknowledge STOP is not waited for any longer.
MonotonicTime stop_end(const Stream& stream) {
    return stream.step == StreamStep::stopping ? stream.stopping_since + kStopPatience : kNever;
}

MonotonicTime resend_due(const Stream& stream) {
    const bool is_due = stream.publisher_session && !stream.acknowledged &&
                        stream.desired != DesiredState::unspecified;
    return is_due ? stream.desired_sent_at + kResendInterval : kNever;
}

bool may_close(const Stream& stream) {
    return stream.at == nullptr || !stream.at->session || !is_held(*stream.at, stream.id);
}

bool is_empty(const Stream& stream) {
    return !stream.publisher && stream.requests.empty() && stream.step == StreamStep::idle;
}

MonotonicTime due_of(const State& state, const Stream& stream, MonotonicTime now) {
    MonotonicTime removal = std::min(linger_end(stream), stop_end(stream));
    if (!stream.publisher_session) {
        removal = std::min(removal, stream.claim_by);
    }
    if (stream.step == StreamStep::displaced && !may_still_flow(stream)) {
        removal = std::min(removal, *stream.displaced_since + kDisplacedPatience);
    }
    MonotonicTime due = std::min({resend_due(stream),
                                  renewal_due(state, stream),
                                  move_due(stream),
                                  not_before_recovery(state, removal, now)});
    if (const MonotonicTime held = held_until(state, stream, now);
        stream.step == StreamStep::idle && stream.publisher_session && held > now) {
        due = std::min(due, held);
    }
    if (stream.publisher_session && is_settling(state, now) &&
        (stream.step == StreamStep::displaced || stream.desired == DesiredState::unspecified)) {
        due = std::min(due, state.started_at + kSettlePeriod);
    }
    if (!stream.refusals.empty()) {
        due = std::min(due, stream.refusals_end);
    }
    if (stream.empty_since.has_value()) {
        due = std::min(due, *stream.empty_since + kGoneStreamKept);
    }
    return due;
}

void add(Watchers& sum, const Watchers& watchers) {
    sum.consumers += watchers.consumers;
    sum.bits_per_second += watchers.bits_per_second;
}

void subtract(Watchers& sum, const Watchers& watchers) {
    sum.consumers -= watchers.consumers;
    sum.bits_per_second -= watchers.bits_per_second;
}

}  // namespace

void advance(Turn& turn, Stream& stream) {
    const StreamId id = stream.id;
    if (!stream.publisher_session && turn.now >= stream.claim_by &&
        !is_recovering(turn.state, turn.now)) {
        forget_publisher(turn, stream);
    }
    if (turn.now >= stream.refusals_end) {
        stream.refusals.clear();
        stream.refusals_end = kNever;
    }
    if (stream.step == StreamStep::displaced) {
        leave_displaced(turn, stream);
    }
    if (stream.step == StreamStep::started) {
        start_undirected(turn, stream);
        linger(turn, stream);
        advance_move(turn, stream);
    }
    if (turn.now >= stop_end(stream)) {
        close_stream(turn, stream);  // what it goes on to send, the data server drops
    }
    if (stream.step == StreamStep::closing && may_close(stream)) {
        finish_close(turn, stream);
    }
    if (stream.step == StreamStep::idle) {
        leave_idle(turn, stream);
    } else if (stream.step != StreamStep::displaced) {
        turn.state.unplaced.erase(id);
    }
    if (turn.now >= renewal_due(turn.state, stream)) {
        direct_publisher(turn, stream, DesiredState::start);
    } else if (turn.now >= resend_due(stream)) {
        send_desired(turn, stream);
    }
    tell_consumers(turn, stream);
    if (!is_empty(stream)) {
        stream.empty_since.reset();
    } else if (!stream.empty_since.has_value()) {
        stream.empty_since = turn.now;
    } else if (turn.now >= *stream.empty_since + kGoneStreamKept) {
        turn.state.unplaced.erase(id);
        turn.state.streams.erase(id);
        turn.state.stream_timers.forget(turn.state.streams, id);
        return;
    }
    turn.state.stream_timers.set(
        turn.state.streams, id, stream.deadline, due_of(turn.state, stream, turn.now));
}

void put_on(Stream& stream, DataServer& server) {
    take_off(stream);
    stream.server = server.name;
    stream.at = &server;
    server.streams.insert(stream.id);
    server.flows += stream.flows.size();
    add(server.watchers, stream.watchers);
}

void take_off(Stream& stream) {
    if (DataServer* server = std::exchange(stream.at, nullptr)) {
        server->streams.erase(stream.id);
        server->flows -= stream.flows.size();
        subtract(server->watchers, stream.watchers);
        drop_reservation(*server, stream.id);
    }
    stream.server.clear();
}

void set_flows(State& state, Stream& stream, std::vector<control::ConsumerFlow> flows) {
    if (stream.at != nullptr) {
        stream.at->flows += flows.size();
        stream.at->flows -= stream.flows.size();
    }
    stream.flows = std::move(flows);
    count_watchers(state, stream);
}

void count_watchers(State& state, Stream& stream) {
    const std::size_t flows =
        stream.flows.size() + (stream.move.has_value() ? stream.move->flows.size() : 0);
    Watchers watchers;
    watchers.consumers = std::max(stream.requests.size(), flows);
    watchers.bits_per_second =
        stream.max_bits_per_second * std::max<std::uint64_t>(watchers.consumers, 1);
    if (watchers == stream.watchers) {
        return;
    }
    const auto change = [&](DataServer* server) {
        if (server != nullptr) {
            subtract(server->watchers, stream.watchers);
            add(server->watchers, watchers);
        }
    };
    change(stream.at);
    if (stream.move.has_value()) {
        change(find_server(state, stream.move->server));
    }
    stream.watchers = watchers;
}

void put_other(Stream& stream, DataServer& server) {
    server.moving.insert(stream.id);
    add(server.watchers, stream.watchers);
}

void take_off_other(State& state, Stream& stream) {
    DataServer* server = find_server(state, stream.move->server);
    if (server != nullptr && server->moving.erase(stream.id) > 0) {
        subtract(server->watchers, stream.watchers);
    }
}

void forget_flows(State& state, Stream& stream) {
    set_flows(state, stream, {});
    stream.flows_before.clear();
    stream.is_report_open = false;
    stream.publisher_address = Endpoint{};
    stream.transmitting = false;
    stream.unwatched_since.reset();
}

bool has_flow(const std::vector<control::ConsumerFlow>& flows, PeerId consumer) {
    const auto found =
        std::ranges::lower_bound(flows, consumer, {}, &control::ConsumerFlow::consumer);
    return found != flows.end() && found->consumer == consumer;
}

Stream* find_or_make_stream(Turn& turn, const std::string& name) {
    const StreamId id = stream_id_of(name);
    if (Stream* known = find(turn.state, id)) {
        return known;
    }
    if (turn.state.streams.size() >= turn.state.settings.streams_max) {
        return nullptr;
    }
    Stream& stream = turn.state.streams[id];
    stream.id = id;
    stream.name = name;
    stream.close_after = turn.state.settings.close_after;
    stream.outlook.reason = "no publisher offers the stream";
    return &stream;
}

bool is_watched(const Stream& stream) noexcept {
    return !stream.requests.empty() || !stream.flows.empty() || !stream.flows_before.empty() ||
           (stream.move.has_value() && !stream.move->flows.empty());
}

std::string_view phase_of(const Stream& stream) noexcept {
    if (!stream.publisher) {
        return "gone";
    }
    switch (stream.step) {
        case StreamStep::idle:
            return "waiting";
        case StreamStep::opening:
        case StreamStep::displaced:
            return "starting";
        case StreamStep::started:
            if (!stream.transmitting) {
                return "starting";
            }
            return stream.unwatched_since.has_value() ? "lingering" : "transmitting";
        case StreamStep::stopping:
        case StreamStep::closing:
            return "lingering";
    }
    return "gone";
}

}  // namespace penstock::presence
