#include "presence/assign_publisher.h"

#include "presence/open_stream.h"
#include "presence/placement.h"
#include "presence/sessions.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace penstock::presence {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;

std::string objection(const Turn& turn,
                      const Stream* stream,
                      const control::PublisherHello& hello) {
    if (stream == nullptr) {
        return fmt::format("there are {} streams already", turn.state.settings.streams_max);
    }
    if (stream->publisher && stream->publisher != hello.publisher) {
        return fmt::format("the stream {} has another publisher", hello.stream);
    }
    return "";
}

/// The candidates of a decision take more memory than all else of a stream: the newest keep them.
void keep_explained(State& state, StreamId newest, MonotonicTime now) {
    state.explained.emplace_back(newest, now);
    if (state.explained.size() > kExplainedMax) {
        const auto [id, decided_at] = state.explained.front();
        state.explained.pop_front();
        Stream* oldest = find(state, id);
        if (oldest != nullptr && oldest->decided_at == decided_at) {
            oldest->decision.candidates = {};
        }
    }
}

void record_decision(Turn& turn, Stream& stream, Decision decision) {
    const bool was_unplaced = turn.state.unplaced.contains(stream.id);
    stream.decision = std::move(decision);
    keep_explained(turn.state, stream.id, turn.now);
    stream.decided_at = turn.now;
    stream.decided_for = stream.trigger;
    if (!stream.decision.chosen.empty()) {
        turn.log(about(stream, EventKind::assigned, stream.decision.reason));
    } else if (!was_unplaced) {
        turn.log(about(stream, EventKind::unassigned, stream.decision.reason));
    }
}

}  // namespace

void request_publish(Turn& turn, SessionId session, const control::PublisherHello& hello) {
    if (std::string why = protocol_objection(hello.protocol, hello.protocol_oldest); !why.empty()) {
        reject(turn, session, std::move(why));
        return;
    }
    Stream* stream = find_or_make_stream(turn, hello.stream);
    if (std::string why = objection(turn, stream, hello); !why.empty()) {
        reject(turn, session, std::move(why), kRetryAfterMs);
        if (stream != nullptr && !stream->publisher_session) {
            stream->claim_by = std::min(stream->claim_by, turn.now + kRivalClaimPeriod);
            advance(turn, *stream);
        }
        return;
    }
    const bool is_back = stream->publisher == hello.publisher;
    if (stream->publisher_session) {
        const SessionId old = std::exchange(stream->publisher_session, SessionId{});
        drop_session(turn, old);
    }
    stream->publisher = hello.publisher;
    stream->publisher_session = session;
    stream->claim_by = kNever;
    stream->goes_on = hello.transmitting;
    stream->start = hello.start;
    stream->max_bits_per_second = hello.max_bits_per_second;
    count_watchers(turn.state, *stream);
    stream->close_after = hello.close_after_ms == 0 ? turn.state.settings.close_after
                                                    : milliseconds(hello.close_after_ms);
    Session& entry = turn.state.sessions.at(session);
    entry.greeted = true;
    entry.stream = stream;
    turn.log(
        about(*stream, EventKind::publish_requested, is_back ? "the same publisher again" : ""));
    if (!is_back) {
        stream->desired = control::DesiredState::unspecified;
        stream->start_requested = hello.start == control::StartPolicy::publish;
        stream->trigger = "publish request";
    }
    if (stream->step == StreamStep::started) {
        // Its rate may be new, or the stream was adopted without a publisher.
        open_at(turn, *stream->at, *stream);
    }
    if (stream->desired != control::DesiredState::unspecified) {
        send_desired(turn, *stream);
    }
    advance(turn, *stream);
    arm_session(turn, session);
}

bool assign_publisher(Turn& turn, Stream& stream) {
    Decision decision = place(turn.state, stream, turn.now);
    if (decision.chosen.empty()) {
        record_decision(turn, stream, std::move(decision));
        turn.state.unplaced.insert(stream.id);
        return false;
    }
    DataServer& server = *find_server(turn.state, decision.chosen);
    put_on(stream, server);
    stream.step = StreamStep::opening;
    stream.endpoint = Endpoint{};
    hand_out(turn, stream, server, std::move(decision));
    return true;
}

void hand_out(Turn& turn, Stream& stream, DataServer& server, Decision decision) {
    ++stream.hand_outs;
    record_decision(turn, stream, std::move(decision));
    turn.state.unplaced.erase(stream.id);
    stream.handed_out_before = std::exchange(server.handed_out_at, turn.now);
    server.is_recent_over = false;
    server.reservations.push_back(
        {stream.id, expected_share(turn.state, server, stream), turn.now});
    open_at(turn, server, stream);
}

}  // namespace penstock::presence
