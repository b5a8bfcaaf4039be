#include "presence/move_stream.h"

#include "presence/assign_publisher.h"
#include "presence/find_stream.h"
#include "presence/open_stream.h"
#include "presence/placement.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace penstock::presence {
namespace {

using control::DesiredState;

void next_step(Turn& turn, Stream& stream, Move::Step step) {
    stream.move->step = step;
    stream.move->since = turn.now;
}

/// Whoever calls has seen to what is open where.
void forget_move(Turn& turn, Stream& stream) {
    take_off_other(turn.state, stream);
    stream.move.reset();
    count_watchers(turn.state, stream);
}

void close_at_other(Turn& turn, Stream& stream) {
    const std::string name = stream.move->server;
    forget_move(turn, stream);
    if (DataServer* other = find_server(turn.state, name)) {
        drop_reservation(*other, stream.id);
        close_at(turn, *other, stream.id);
    }
}

/// The other data server becomes the stream's own.
void change_places(Turn& turn, Stream& stream) {
    DataServer& other = *find_server(turn.state, stream.move->server);
    const std::string before = stream.server;
    std::vector<control::ConsumerFlow> flows = stream.flows;
    take_off_other(turn.state, stream);
    put_on(stream, other);
    stream.move->server = before;
    if (DataServer* old = find_server(turn.state, before)) {
        put_other(stream, *old);
    }
    set_flows(turn.state, stream, std::exchange(stream.move->flows, std::move(flows)));
    stream.flows_before.clear();
    stream.is_report_open = false;
    std::swap(stream.endpoint, stream.move->endpoint);
}

/// Whoever has a flow at the old data server has one at the new one, too.
bool are_all_over(const Stream& stream) {
    return std::ranges::all_of(stream.move->flows, [&](const control::ConsumerFlow& flow) {
        return has_flow(stream.flows, flow.consumer);
    });
}

/// Content is at the new data server: consumers are told of it.
void go_over(Turn& turn, Stream& stream) {
    change_places(turn, stream);
    next_step(turn, stream, Move::Step::leaving);
    direct_publisher(turn, stream, DesiredState::start);
    turn.log(about(stream, EventKind::moved, "from " + stream.move->server));
}

}  // namespace

bool may_move(const Stream& stream) noexcept {
    return stream.step == StreamStep::started && !stream.move.has_value() && stream.publisher &&
           stream.publisher_session && stream.transmitting;
}

bool begin_move(Turn& turn, Stream& stream) {
    if (!may_move(stream)) {
        return false;
    }
    Decision decision = place(turn.state, stream, turn.now);
    if (decision.chosen.empty() || decision.chosen == stream.server) {
        return false;
    }
    begin_move_to(turn, stream, std::move(decision));
    return true;
}

void begin_move_to(Turn& turn, Stream& stream, Decision decision) {
    DataServer& target = *find_server(turn.state, decision.chosen);
    stream.trigger = "move from " + stream.server;
    stream.move = Move{Move::Step::opening, target.name, Endpoint{}, turn.now, {}, {}};
    put_other(stream, target);
    turn.log(about(stream, EventKind::moving, "to " + target.name));
    hand_out(turn, stream, target, std::move(decision));
    advance(turn, stream);
}

void advance_move(Turn& turn, Stream& stream) {
    if (!stream.move.has_value()) {
        return;
    }
    const bool is_late = turn.now >= move_due(stream);
    switch (stream.move->step) {
        case Move::Step::opening:
        case Move::Step::joining:
            if (is_late) {
                lose_other(turn, stream, "the publisher's content did not come there in time");
            }
            return;
        case Move::Step::leaving:
            if (!are_all_over(stream)) {
                stream.move->over_since.reset();
            } else if (!stream.move->over_since.has_value()) {
                stream.move->over_since = turn.now;
            }
            if (stream.move->flows.empty() || is_late) {
                next_step(turn, stream, Move::Step::ending);
                direct_publisher(turn, stream, DesiredState::start);
            }
            return;
        case Move::Step::ending:
            if (stream.acknowledged || !stream.publisher_session || is_late) {
                close_at_other(turn, stream);
            }
    }
}

MonotonicTime move_due(const Stream& stream) noexcept {
    if (!stream.move.has_value()) {
        return kNever;
    }
    switch (stream.move->step) {
        case Move::Step::opening:
        case Move::Step::joining:
            return stream.move->since + kMovePatience;
        case Move::Step::leaving:
            // The LEAVE of one who has gone over may have been lost.
            return std::min(stream.move->since + kLeavePatience,
                            later(stream.move->over_since.value_or(kNever), kOverlap));
        case Move::Step::ending:
            return stream.move->since + kStopPatience;
    }
    return kNever;
}

bool is_in_two_places(const Stream& stream) noexcept {
    return stream.move.has_value() &&
           (stream.move->step == Move::Step::joining || stream.move->step == Move::Step::leaving);
}

void take_move_opened(Turn& turn, Stream& stream, const Endpoint& endpoint) {
    if (stream.move->step == Move::Step::opening) {
        stream.move->endpoint = endpoint;
        next_step(turn, stream, Move::Step::joining);
        direct_publisher(turn, stream, DesiredState::start);
    } else if (stream.move->endpoint != endpoint) {
        lose_other(turn, stream, "it was opened anew there");
    }
}

void take_move_report(Turn& turn, Stream& stream, control::StreamReport report) {
    Move& move = *stream.move;
    if (move.endpoint != report.endpoint) {
        return;
    }
    if (move.step == Move::Step::joining) {
        if (report.publisher == stream.publisher) {
            stream.publisher_address = report.publisher_address;
            go_over(turn, stream);
        }
    } else if (report.continued) {
        move.flows.insert(move.flows.end(), report.consumers.begin(), report.consumers.end());
        put_in_order(move.flows);
    } else {
        move.flows = std::move(report.consumers);
        put_in_order(move.flows);
    }
    count_watchers(turn.state, stream);
    advance(turn, stream);
}

void cancel_move(Turn& turn, Stream& stream, const std::string& reason) {
    turn.log(about(stream, EventKind::move_cancelled, reason));
    const bool was_told = is_in_two_places(stream);
    close_at_other(turn, stream);
    if (was_told && stream.step == StreamStep::started) {
        direct_publisher(turn, stream, DesiredState::start);
    }
}

void lose_other(Turn& turn, Stream& stream, const std::string& reason) {
    const Move::Step step = stream.move->step;
    if (step == Move::Step::opening || step == Move::Step::joining) {
        stream.refusals[stream.move->server] = reason;
        stream.refusals_end = turn.now + kMovePause;
    }
    cancel_move(turn, stream, reason);
}

bool go_on_at_other(Turn& turn, Stream& stream) {
    if (!stream.move.has_value()) {
        return false;
    }
    // Before the publisher's content is there, nothing says that it will ever come.
    if (stream.move->step != Move::Step::leaving || stream.step != StreamStep::started) {
        close_at_other(turn, stream);
        return false;
    }
    change_places(turn, stream);
    forget_move(turn, stream);
    turn.log(about(stream, EventKind::moved, "the other data server is lost"));
    direct_publisher(turn, stream, DesiredState::start);
    return true;
}

void close_move(Turn& turn, Stream& stream) {
    if (stream.move.has_value()) {
        close_at_other(turn, stream);
    }
}

void leave_at_once(Turn& turn, Stream& stream, const std::string& trigger) {
    const bool has_it = stream.step == StreamStep::started || stream.step == StreamStep::opening;
    if (!has_it || !stream.publisher_session || is_in_two_places(stream)) {
        return;
    }
    close_move(turn, stream);
    if (place(turn.state, stream, turn.now).chosen.empty()) {
        stream.refusals.clear();  // one that its publisher did not come to in time may have to do
        if (place(turn.state, stream, turn.now).chosen.empty()) {
            return;
        }
    }
    DataServer& server = *stream.at;
    stream.trigger = trigger;
    forget_flows(turn.state, stream);
    take_off(stream);
    stream.lost_server = server.name;
    stream.displaced_since = stream.displaced_since.value_or(turn.now);
    stream.step = StreamStep::displaced;
    close_at(turn, server, stream.id);
    advance(turn, stream);
}

}  // namespace penstock::presence
