#include "presence/stop_stream.h"

#include "presence/move_stream.h"
#include "presence/open_stream.h"

#include <fmt/format.h>

namespace penstock::presence {

using control::DesiredState;

void linger(Turn& turn, Stream& stream) {
    if (is_watched(stream)) {
        stream.unwatched_since.reset();
        stream.lingering_told = false;
        return;
    }
    stream.unwatched_since = stream.unwatched_since.value_or(turn.now);
    if (stream.transmitting && !stream.lingering_told) {
        stream.lingering_told = true;
        turn.log(about(stream, EventKind::lingering));
    }
    if (turn.now >= linger_end(stream) && !is_recovering(turn.state, turn.now)) {
        stop_stream(turn, stream);
    }
}

MonotonicTime linger_end(const Stream& stream) noexcept {
    // A publisher without a session can neither be told nor answer: claim_by decides about it.
    if (stream.step != StreamStep::started || !stream.unwatched_since.has_value() ||
        !stream.publisher_session) {
        return kNever;
    }
    return later(*stream.unwatched_since, stream.close_after);
}

void stop_stream(Turn& turn, Stream& stream) {
    close_move(turn, stream);
    stream.step = StreamStep::stopping;
    stream.stopping_since = turn.now;
    stream.displaced_since.reset();
    direct_publisher(turn, stream, DesiredState::stop);
    turn.log(about(stream, EventKind::stop_sent, fmt::format("version {}", stream.version)));
}

void close_stream(Turn& turn, Stream& stream) {
    close_move(turn, stream);
    stream.step = StreamStep::closing;
    stream.displaced_since.reset();
    if (DataServer* server = stream.at) {
        close_at(turn, *server, stream.id);
    }
}

void finish_close(Turn& turn, Stream& stream) {
    if (!stream.server.empty()) {
        turn.log(about(stream, EventKind::stream_closed));
    }
    stream.step = StreamStep::idle;
    forget_flows(turn.state, stream);
    take_off(stream);
    stream.endpoint = Endpoint{};
    stream.refusals.clear();
    stream.displaced_since.reset();
    stream.trigger = "consumer request";
    if (stream.publisher_session && stream.desired != DesiredState::wait) {
        direct_publisher(turn, stream, DesiredState::wait);
        turn.log(about(stream, EventKind::waiting, fmt::format("version {}", stream.version)));
    }
}

void lose_publisher(Turn& turn, Stream& stream) {
    stream.publisher_session = SessionId{};
    stream.claim_by = turn.now + kPublisherAbsence;
    advance(turn, stream);
}

void forget_publisher(Turn& turn, Stream& stream) {
    turn.log(about(stream, EventKind::publisher_gone));
    stream.publisher = PeerId{};
    stream.claim_by = kNever;
    stream.start_requested = false;
    stream.desired = DesiredState::unspecified;
    if (stream.step == StreamStep::displaced) {
        stream.step = StreamStep::idle;
        stream.displaced_since.reset();
    } else if (stream.step != StreamStep::idle && stream.step != StreamStep::closing) {
        close_stream(turn, stream);
    }
}

}  // namespace penstock::presence
