#include "presence/find_stream.h"

#include "presence/data_trouble.h"
#include "presence/open_stream.h"
#include "presence/placement.h"
#include "presence/sessions.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

namespace penstock::presence {
namespace {

using control::AssignmentState;

/// The most frequent events of all: made in place.
void log_consumer(Turn& turn,
                  const Stream& stream,
                  EventKind kind,
                  PeerId consumer,
                  std::string_view detail = "") {
    LoggedEvent& event = turn.state.events.append();
    event.at = turn.now;
    event.kind = kind;
    event.stream = stream.name;
    event.data_server = stream.server;
    event.consumer = consumer;
    event.detail = detail;
}

Outlook outlook_of(const Turn& turn, const Stream& stream) {
    Outlook outlook;
    if (!stream.publisher) {
        outlook.reason = "no publisher offers the stream";
        return outlook;
    }
    switch (stream.step) {
        case StreamStep::started:
            outlook.state = AssignmentState::ready;
            outlook.server = stream.server;
            outlook.endpoint = stream.endpoint;
            return outlook;
        case StreamStep::stopping:
        case StreamStep::closing:
            outlook.reason = "the stream is being stopped before it starts again";
            return outlook;
        case StreamStep::opening:
        case StreamStep::displaced:
            if (stream.displaced_since.has_value() &&
                stream.outlook.state == AssignmentState::ready) {
                return stream.outlook;  // the copies may still flow
            }
            [[fallthrough]];
        case StreamStep::idle:
            outlook.reason = turn.state.unplaced.contains(stream.id)
                                 ? "no data server can take the stream now"
                                 : "the stream is starting";
            return outlook;
    }
    return outlook;
}

/// The time a waiting consumer gives the stream: its own, but not less than a publisher that is
/// there needs to start, or a presence that has just started needs to learn what there is.
MonotonicTime wait_end(const Turn& turn, const Stream& stream, const Consumer& consumer) {
    const auto patience = stream.publisher
                              ? std::max<std::chrono::nanoseconds>(consumer.wait, kStartPatience)
                              : consumer.wait;
    const MonotonicTime end = later(consumer.waiting_since, patience);
    return is_settling(turn.state, turn.now) ? std::max(end, turn.state.started_at + kSettlePeriod)
                                             : end;
}

/// When it may be worth asking again: not before a presence that has just started knows what there
/// is; else it is a matter of data servers and publishers, who come when they come.
std::uint32_t retry_after_ms(const Turn& turn) {
    using std::chrono::milliseconds;
    if (!is_settling(turn.state, turn.now)) {
        return kRetryAfterMs;
    }
    const auto left = turn.state.started_at + kSettlePeriod - turn.now;
    return static_cast<std::uint32_t>(std::chrono::ceil<milliseconds>(left).count());
}

void send_assignment(Turn& turn, const Stream& stream, Consumer& consumer) {
    control::Assignment assignment;
    consumer.version = ++turn.state.version;
    assignment.epoch = turn.state.facts.epoch;
    assignment.version = consumer.version;
    assignment.state = consumer.told.state;
    assignment.reason = consumer.told.reason;
    if (consumer.told.state == AssignmentState::ready) {
        const DataServer* server = consumer.told.server == stream.server
                                       ? stream.at
                                       : find_server(turn.state, consumer.told.server);
        if (server == nullptr) {
            return;
        }
        const Permission permission =
            issue_ticket(turn.state, *server, stream, consumer.id, TicketRole::consume, turn.now);
        assignment.data_server = consumer.told.server;
        assignment.endpoint = consumer.told.endpoint;
        assignment.ticket = permission.ticket;
        assignment.session_key = permission.session_key;
        assignment.keepalive_ms =
            static_cast<std::uint32_t>(std::chrono::milliseconds(kKeepalive).count());
    } else {
        assignment.retry_after_ms = retry_after_ms(turn);
    }
    turn.act(ToConsumer{consumer.session, std::move(assignment)});
}

void send_gone(Turn& turn, SessionId session, std::string reason) {
    control::Assignment gone;
    gone.epoch = turn.state.facts.epoch;
    gone.version = ++turn.state.version;
    gone.state = AssignmentState::gone;
    gone.reason = std::move(reason);
    gone.retry_after_ms = retry_after_ms(turn);
    turn.act(ToConsumer{session, std::move(gone)});
}

/// Takes the consumer out of everything; its session is the caller's.
void remove(Turn& turn, Stream& stream, PeerId consumer) {
    turn.state.consumers -= stream.requests.erase(consumer);
    count_watchers(turn.state, stream);
}

void time_out(Turn& turn, Stream& stream, const Consumer& consumer) {
    const SessionId session = consumer.session;
    log_consumer(turn, stream, EventKind::consumer_timed_out, consumer.id, consumer.told.reason);
    send_gone(turn, session, fmt::format("{}: {}", stream.name, consumer.told.reason));
    remove(turn, stream, consumer.id);
    drop_session(turn, session);
}

/// Gives the consumer the stream's outlook. May remove it, if that is to wait and its time is over.
void tell(Turn& turn, Stream& stream, Consumer& consumer) {
    MonotonicTime& wait_until = turn.state.sessions.at(consumer.session).wait_until;
    const bool was_waiting = wait_until != kNever;
    consumer.told = stream.outlook;
    if (consumer.told.state == AssignmentState::ready) {
        wait_until = kNever;
        log_consumer(turn,
                     stream,
                     EventKind::consumer_ready,
                     consumer.id,
                     "join at " + to_string(stream.outlook.endpoint));
    } else {
        if (!was_waiting) {
            consumer.waiting_since = turn.now;
        }
        wait_until = wait_end(turn, stream, consumer);
        if (turn.now >= wait_until) {
            time_out(turn, stream, consumer);
            return;
        }
    }
    send_assignment(turn, stream, consumer);
    arm_session(turn, consumer.session);
}

/// "" or why the request cannot be taken.
std::string objection(const State& state, const Stream* stream, PeerId consumer) {
    if (stream == nullptr) {
        return fmt::format("there are {} streams already", state.settings.streams_max);
    }
    if (state.consumers >= state.settings.consumers_max) {
        return fmt::format("there are {} consumers already", state.settings.consumers_max);
    }
    if (stream->requests.contains(consumer) || has_flow(stream->flows, consumer) ||
        (stream->move.has_value() && has_flow(stream->move->flows, consumer))) {
        return "";  // it is counted already
    }
    // A stream is on one data server: more than that may have, it could never be given.
    const std::size_t most =
        lower(state.settings.stream_consumers_max, state.settings.server_consumers_max);
    if (most != 0 && stream->watchers.consumers >= most) {
        return fmt::format("the stream {} has {} consumers already", stream->name, most);
    }
    if (stream->at == nullptr) {
        return "";
    }
    // A stream without consumers counts as if it had one.
    const std::uint64_t more = stream->watchers.consumers == 0 ? 0 : stream->max_bits_per_second;
    return why_full(state, *stream->at, more);
}

/// One session of a consumer for a stream: the newest.
void replace_older(Turn& turn, Stream& stream, PeerId id) {
    if (const auto older = stream.requests.find(id); older != stream.requests.end()) {
        const SessionId session = older->second.session;
        remove(turn, stream, id);
        drop_session(turn, session);
    }
}

Consumer& enter(Turn& turn,
                Stream& stream,
                SessionId session,
                const control::ConsumerRequest& request) {
    constexpr std::uint64_t kForEverMs = std::chrono::milliseconds(kWaitMax).count();
    Session& entry = turn.state.sessions.at(session);
    entry.greeted = true;
    Consumer& consumer = stream.requests[request.consumer];
    ++turn.state.consumers;
    entry.consumer = &consumer;
    consumer.session = session;
    consumer.id = request.consumer;
    consumer.stream = &stream;
    consumer.wait = request.wait_ms >= kForEverMs
                        ? std::chrono::nanoseconds::max()
                        : std::chrono::nanoseconds(std::chrono::milliseconds(request.wait_ms));
    consumer.requested_at = turn.now;
    consumer.waiting_since = turn.now;
    count_watchers(turn.state, stream);
    log_consumer(turn, stream, EventKind::consumer_requested, request.consumer);
    return consumer;
}

void say_joined(Turn& turn, Stream& stream, const control::ConsumerFlow& flow) {
    if (const auto request = stream.requests.find(flow.consumer);
        request != stream.requests.end()) {
        request->second.has_joined = true;
    }
    log_consumer(
        turn, stream, EventKind::consumer_joined, flow.consumer, "from " + to_string(flow.address));
}

/// Who is in `flows` and was not before, and the other way round.
void say_changes(Turn& turn, Stream& stream) {
    auto before = stream.flows_before.begin();
    const auto leave_until = [&](PeerId end) {
        for (; before != stream.flows_before.end() && before->consumer < end; ++before) {
            log_consumer(turn, stream, EventKind::consumer_left, before->consumer);
        }
    };
    for (const control::ConsumerFlow& flow : stream.flows) {
        leave_until(flow.consumer);
        if (before != stream.flows_before.end() && before->consumer == flow.consumer) {
            ++before;
        } else {
            say_joined(turn, stream, flow);
        }
    }
    leave_until(PeerId{std::numeric_limits<std::uint64_t>::max()});
}

}  // namespace

void put_in_order(std::vector<control::ConsumerFlow>& flows) {
    const auto goes_before = [](const auto& left, const auto& right) {
        return left.consumer < right.consumer;
    };
    if (!std::ranges::is_sorted(flows, goes_before)) {
        std::ranges::stable_sort(flows, goes_before);
    }
    const auto is_same = [](const auto& left, const auto& right) {
        return left.consumer == right.consumer;
    };
    flows.erase(std::unique(flows.begin(), flows.end(), is_same), flows.end());
}

void request_stream(Turn& turn, SessionId session, const control::ConsumerRequest& request) {
    if (std::string why = protocol_objection(request.protocol, request.protocol_oldest);
        !why.empty()) {
        reject(turn, session, std::move(why));
        return;
    }
    Stream* known = find(turn.state, stream_id_of(request.stream));
    if (known == nullptr && request.wait_ms == 0 && !is_settling(turn.state, turn.now)) {
        send_gone(turn, session, request.stream + ": no publisher offers the stream");
        drop_session(turn, session);
        return;
    }
    Stream* stream = known == nullptr ? find_or_make_stream(turn, request.stream) : known;
    if (std::string why = objection(turn.state, stream, request.consumer); !why.empty()) {
        reject(turn, session, std::move(why), kRetryAfterMs);
        return;
    }
    replace_older(turn, *stream, request.consumer);
    enter(turn, *stream, session, request);
    if (stream->step == StreamStep::idle) {
        stream->trigger = "consumer request";
    }
    advance(turn, *stream);
    // Unless the stream has just got another outlook, this one was not told yet.
    if (const Session* const entry = turn.state.sessions.find(session);
        entry != nullptr && entry->consumer->version == 0) {
        tell(turn, *stream, *entry->consumer);
    }
}

void renew_ticket(Turn& turn, Consumer& consumer, const control::ConsumerRenew& renew) {
    if (renew.version == consumer.version) {
        Stream& stream = *consumer.stream;
        take_complaint(turn, stream, consumer.id);
        send_assignment(turn, stream, consumer);
    }
}

void tell_consumers(Turn& turn, Stream& stream) {
    Outlook outlook = outlook_of(turn, stream);
    if (outlook == stream.outlook) {
        return;
    }
    stream.outlook = std::move(outlook);
    for (auto next = stream.requests.begin(); next != stream.requests.end();) {
        Consumer& consumer = next->second;
        ++next;  // what is told may be that its wait is over, and then it is gone
        tell(turn, stream, consumer);
    }
}

void end_wait(Turn& turn, Consumer& consumer) {
    Stream& stream = *consumer.stream;
    time_out(turn, stream, consumer);
    advance(turn, stream);
}

void leave(Turn& turn, Consumer& consumer) {
    Stream& stream = *consumer.stream;
    if (!consumer.has_joined) {
        log_consumer(turn,
                     stream,
                     EventKind::consumer_left,
                     consumer.id,
                     "its session ended without a flow");
    }
    remove(turn, stream, consumer.id);
    advance(turn, stream);
}

void take_flows(Turn& turn, Stream& stream, control::StreamReport report) {
    // A full message may be continued by another, or may not: the next one tells.
    const bool may_continue = report.consumers.size() >= control::kFlowsMax;
    std::vector<control::ConsumerFlow> flows = std::move(report.consumers);
    if (report.continued) {
        flows.insert(flows.begin(), stream.flows.begin(), stream.flows.end());
    } else {
        if (stream.is_report_open) {
            say_changes(turn, stream);
        }
        stream.flows_before = stream.flows;
    }
    put_in_order(flows);
    flows.resize(std::min(flows.size(), turn.state.settings.consumers_max));
    set_flows(turn.state, stream, std::move(flows));
    stream.is_report_open = may_continue;
    if (!stream.is_report_open) {
        say_changes(turn, stream);
        stream.flows_before.clear();
    }
}

}  // namespace penstock::presence
