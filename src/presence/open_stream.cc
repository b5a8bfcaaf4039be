#include "presence/open_stream.h"

#include "base/check.h"
#include "presence/attach.h"
#include "presence/data_trouble.h"
#include "presence/move_stream.h"
#include "presence/placement.h"
#include "presence/recover.h"
#include "presence/sessions.h"
#include "presence/stop_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <set>
#include <utility>

namespace penstock::presence {
namespace {

using control::DesiredState;

/// All of them; while recovering it closes none that we do not know of.
control::StreamSet full_set(const Turn& turn, const DataServer& server) {
    control::StreamSet set;
    set.keep_others = is_recovering(turn.state, turn.now);
    for (const auto& [id, desired] : server.desired) {
        set.open.push_back(desired);
    }
    for (const auto& [id, spared] : server.spared) {
        set.open.push_back(spared);
    }
    return set;
}

control::StreamSet changed_set(const DataServer& server) {
    control::StreamSet set;
    set.base_generation = server.generation_applied;
    for (const StreamId id : server.changed) {
        const auto desired = server.desired.find(id);
        const auto sent = server.sent.find(id);
        if (desired == server.desired.end()) {
            if (sent != server.sent.end() && !server.spared.contains(id)) {
                set.close.push_back(id);
            }
        } else if (sent == server.sent.end() || sent->second != desired->second) {
            set.open.push_back(desired->second);
        }
    }
    return set;
}

/// What `changed` names is now as it is desired.
void note_sent(DataServer& server) {
    for (const StreamId id : server.changed) {
        const auto desired = server.desired.find(id);
        const auto spared = server.spared.find(id);
        if (desired != server.desired.end()) {
            server.sent.insert_or_assign(id, desired->second);
        } else if (spared != server.spared.end()) {
            server.sent.insert_or_assign(id, spared->second);
        } else {
            server.sent.erase(id);
        }
    }
    server.unanswered.merge(server.changed);
    server.changed.clear();
}

void want_closed(DataServer& server, StreamId id) {
    if (const auto desired = server.desired.find(id); desired != server.desired.end()) {
        server.desired_bytes -= set_bytes_of(desired->second.name);
        server.desired.erase(desired);
        server.changed.insert(id);
        const auto load =
            std::ranges::lower_bound(server.stream_loads, id, {}, &control::StreamLoad::stream);
        if (load != server.stream_loads.end() && load->stream == id) {
            server.stream_loads.erase(load);
        }
    }
}

/// A full set says of every stream anew whether it is to be open.
void note_all_changed(DataServer& server) {
    for (const auto& [id, desired] : server.desired) {
        server.changed.insert(id);
    }
    for (const auto& [id, spared] : server.spared) {
        server.changed.insert(id);
    }
    for (const auto& [id, sent] : server.sent) {
        server.changed.insert(id);
    }
    server.changed.insert(server.applied.begin(), server.applied.end());
}

void put_in_flight(Turn& turn, DataServer& server, control::StreamSet set) {
    if (!server.in_flight) {
        server.unanswered_since = turn.now;
    }
    server.full_in_flight = set.base_generation == 0;
    server.others_kept = set.keep_others;
    set.epoch = turn.state.facts.epoch;
    set.generation = ++server.generation_sent;
    server.in_flight = true;
    server.full_wanted = set.keep_others;
    if (server.full_in_flight) {
        note_all_changed(server);
    }
    note_sent(server);
    server.sent_at = turn.now;
    turn.act(ToDataServer{server.session, std::move(set)});
    arm_session(turn, server.session);
}

/// The data server will not open the stream: another one has to.
void refuse_stream(Turn& turn, DataServer& server, StreamId id, const std::string& reason) {
    want_closed(server, id);
    server.spared.erase(id);
    server.sent.erase(id);
    Stream* stream = find(turn.state, id);
    if (stream != nullptr && stream->move.has_value() && stream->move->server == server.name) {
        lose_other(turn, *stream, reason);
        return;
    }
    if (stream == nullptr || stream->server != server.name) {
        return;
    }
    turn.log(about(*stream, EventKind::stream_refused, reason));
    if (go_on_at_other(turn, *stream)) {
        return;
    }
    if (stream->step == StreamStep::closing) {
        return;
    }
    if (stream->decided_at.has_value() && server.handed_out_at == stream->decided_at) {
        server.handed_out_at = stream->handed_out_before;
    }
    drop_reservation(server, id);
    rank(turn.state, server, turn.now);
    stream->refusals[server.name] = reason;
    stream->refusals_end = turn.now + kResendInterval;
    forget_flows(turn.state, *stream);
    if (stream->step == StreamStep::stopping) {
        take_off(*stream);
    } else if (stream->step == StreamStep::started || stream->displaced_since.has_value()) {
        stream->step = StreamStep::displaced;
        stream->displaced_since = stream->displaced_since.value_or(turn.now);
        stream->lost_server = server.name;
        take_off(*stream);
    } else {
        stream->step = StreamStep::idle;
        take_off(*stream);
    }
}

bool is_opening_at(const Stream& stream, const DataServer& server) {
    if (stream.move.has_value() && stream.move->server == server.name) {
        return stream.move->step == Move::Step::opening;
    }
    return stream.server == server.name && stream.step == StreamStep::opening;
}

/// Everything of the set in flight holds: what it opened but the answer does not name was not
/// opened, what it closed is closed.
void complete_set(Turn& turn, DataServer& server) {
    server.in_flight = false;
    server.generation_applied = server.generation_sent;
    const std::set<StreamId> answered = std::exchange(server.unanswered, {});
    for (const StreamId id : answered) {
        const Stream* stream = find(turn.state, id);
        if (stream != nullptr && server.sent.contains(id) && is_opening_at(*stream, server)) {
            refuse_stream(turn, server, id, "its acknowledgement does not name the stream");
        }
        if (server.sent.contains(id)) {
            server.applied.insert(id);
        } else if (!server.others_kept) {
            server.applied.erase(id);
        }
    }
}

void take_opened(Turn& turn, const DataServer& server, Stream& stream, const Endpoint& endpoint) {
    if (stream.move.has_value() && stream.move->server == server.name) {
        take_move_opened(turn, stream, endpoint);
    } else if (stream.server == server.name &&
               (stream.step == StreamStep::opening ||
                (stream.step == StreamStep::started && stream.endpoint != endpoint))) {
        start_stream(turn, stream, endpoint);
    }
}

/// While a stream moves its publisher sends to both data servers.
void add_other_place(Turn& turn, const Stream& stream, control::PublisherDesired& desired) {
    if (!is_in_two_places(stream)) {
        return;
    }
    const DataServer& other = *find_server(turn.state, stream.move->server);
    const Permission permission =
        issue_ticket(turn.state, other, stream, stream.publisher, TicketRole::publish, turn.now);
    desired.also = control::Place{
        other.name, stream.move->endpoint, permission.ticket, permission.session_key};
}

}  // namespace

void open_at(Turn& turn, DataServer& server, const Stream& stream) {
    const auto [desired, is_new] = server.desired.insert_or_assign(
        stream.id,
        control::DesiredStream{
            stream.id, stream.name, stream.publisher, stream.max_bits_per_second});
    server.desired_bytes += is_new ? set_bytes_of(stream.name) : 0;
    server.changed.insert(stream.id);
    if (server.spared.erase(stream.id) > 0) {
        server.sent.erase(stream.id);  // as one of ours it has yet to be sent
    }
    rank(turn.state, server, turn.now);
    send_set(turn, server);
}

void close_at(Turn& turn, DataServer& server, StreamId stream) {
    want_closed(server, stream);
    rank(turn.state, server, turn.now);
    send_set(turn, server);
}

void send_set(Turn& turn, DataServer& server) {
    if (!server.session || !server.reports_done || server.in_flight) {
        return;
    }
    const bool only_adds = is_recovering(turn.state, turn.now);
    if (server.full_wanted && !only_adds) {
        put_in_flight(turn, server, full_set(turn, server));
        return;
    }
    if (server.full_wanted) {
        note_all_changed(server);
    }
    control::StreamSet set = changed_set(server);
    if (only_adds && !set.open.empty()) {
        // All of them, not only what is new: a data server of a version that does not know
        // keep_others takes it for the full set.
        put_in_flight(turn, server, full_set(turn, server));
    } else if (!only_adds && (!set.open.empty() || !set.close.empty())) {
        put_in_flight(turn, server, std::move(set));
    } else if (!only_adds) {
        server.changed.clear();
    }
}

void spare(DataServer& server, control::DesiredStream stream) {
    want_closed(server, stream.stream);
    server.spared[stream.stream] = std::move(stream);
}

void close_spared(Turn& turn, DataServer& server) {
    if (!server.spared.empty() && !is_settling(turn.state, turn.now)) {
        for (const auto& [id, spared] : std::exchange(server.spared, {})) {
            server.changed.insert(id);
        }
        send_set(turn, server);
    }
}

bool resend_set(Turn& turn, DataServer& server) {
    if (!server.in_flight) {
        return true;
    }
    if (turn.now >= server.unanswered_since + kSetPatience) {
        return false;
    }
    if (turn.now >= server.sent_at + kResendInterval) {
        put_in_flight(turn, server, full_set(turn, server));
    }
    return true;
}

void take_applied(Turn& turn, DataServer& server, const control::Applied& applied) {
    if (!server.reports_done) {
        return;
    }
    if (std::string why = epoch_objection(turn.state, applied.epoch); !why.empty()) {
        reject(turn, server.session, std::move(why), kRetryAfterMs);
        return;
    }
    if (applied.epoch > turn.state.facts.epoch) {
        raise_epoch(turn, applied.epoch);
        end_session(turn,
                    server.session,
                    fmt::format("it obeys another presence, of epoch {}", applied.epoch));
        return;
    }
    for (const control::OpenedStream& opened : applied.opened) {
        Stream* stream = find(turn.state, opened.stream);
        if (stream != nullptr && server.sent.contains(opened.stream)) {
            take_opened(turn, server, *stream, opened.endpoint);
        }
    }
    for (const control::RefusedStream& refused : applied.refused) {
        if (server.sent.contains(refused.stream)) {
            refuse_stream(turn, server, refused.stream, refused.reason);
        }
    }
    std::set<StreamId> touched = server.unanswered;
    for (const control::OpenedStream& opened : applied.opened) {
        touched.insert(opened.stream);
    }
    for (const control::RefusedStream& refused : applied.refused) {
        touched.insert(refused.stream);
    }
    if (server.in_flight && applied.generation == server.generation_sent) {
        complete_set(turn, server);
    } else if (server.in_flight && !server.full_in_flight) {
        server.in_flight = false;  // the change did not fit what it has
        server.full_wanted = true;
    }
    send_set(turn, server);
    arm_session(turn, server.session);
    for (const StreamId id : touched) {
        if (Stream* stream = find(turn.state, id)) {
            advance(turn, *stream);
        }
    }
}

bool is_held(const DataServer& server, StreamId stream) {
    return server.applied.contains(stream) || (server.in_flight && server.sent.contains(stream));
}

void direct_publisher(Turn& turn, Stream& stream, DesiredState state) {
    stream.version = ++turn.state.version;
    stream.desired = state;
    stream.acknowledged = false;
    send_desired(turn, stream);
    if (state == DesiredState::start) {
        stream.start_requested = false;
    }
    if (state == DesiredState::start && stream.publisher_session) {
        turn.log(about(stream, EventKind::start_sent, fmt::format("version {}", stream.version)));
    }
}

void send_desired(Turn& turn, Stream& stream) {
    if (!stream.publisher_session) {
        return;
    }
    stream.desired_sent_at = turn.now;
    control::PublisherDesired desired;
    desired.epoch = turn.state.facts.epoch;
    desired.version = stream.version;
    desired.state = stream.desired;
    if (stream.desired == DesiredState::start) {
        const DataServer* server = stream.at;
        if (server == nullptr || stream.step != StreamStep::started) {
            return;  // displaced: what was said last holds until another data server is found
        }
        const Permission permission = issue_ticket(
            turn.state, *server, stream, stream.publisher, TicketRole::publish, turn.now);
        stream.ticket_at = turn.now;
        desired.data_server = stream.server;
        desired.endpoint = stream.endpoint;
        desired.ticket = permission.ticket;
        desired.session_key = permission.session_key;
        add_other_place(turn, stream, desired);
    }
    turn.act(ToPublisher{stream.publisher_session, std::move(desired)});
}

void take_publisher_report(Turn& turn, Stream& stream, const control::PublisherReport& report) {
    if (report.version != stream.version || report.state != stream.desired) {
        return;  // the answer to something said before
    }
    stream.acknowledged = true;
    stream.trouble = report.trouble;
    if (!report.trouble.empty()) {
        take_complaint(turn, stream, stream.publisher);
    }
    if (stream.desired == DesiredState::start && stream.step == StreamStep::started) {
        if (report.transmitting && !stream.transmitting) {
            turn.log(about(stream, EventKind::transmitting));
        }
        stream.transmitting = report.transmitting;
    } else if (stream.desired == DesiredState::stop && stream.step == StreamStep::stopping) {
        turn.log(about(stream, EventKind::stopped));
        close_stream(turn, stream);
    }
    advance(turn, stream);
}

void start_stream(Turn& turn, Stream& stream, const Endpoint& endpoint) {
    stream.step = StreamStep::started;
    stream.endpoint = endpoint;
    stream.displaced_since.reset();
    stream.unwatched_since.reset();
    stream.refusals.clear();
    stream.transmitting = false;
    stream.lingering_told = false;
    turn.log(about(stream, EventKind::stream_opened, "at " + to_string(endpoint)));
    if (stream.publisher) {
        direct_publisher(turn, stream, DesiredState::start);
    }
}

Permission issue_ticket(State& state,
                        const DataServer& server,
                        const Stream& stream,
                        PeerId peer,
                        TicketRole role,
                        MonotonicTime now) {
    const auto lifetime =
        std::chrono::duration_cast<std::chrono::milliseconds>(state.settings.ticket_lifetime);
    Ticket ticket{};
    ticket.role = static_cast<std::uint8_t>(role);
    ticket.key_id = Be16(kTicketKeyId);
    ticket.stream_id = Be64(stream.id.value);
    ticket.peer_id = Be64(peer.value);
    ticket.not_after_ms =
        Be64(clock_of(server, now) + static_cast<std::uint64_t>(lifetime.count()));
    ticket.max_bits_per_second = Be64(stream.max_bits_per_second);
    const std::uint64_t nonce = state.random();
    ticket.nonce = Be64(nonce);
    server.sealer.seal(ticket);
    return {std::bit_cast<control::TicketBytes>(ticket),
            derive_session_key(server.ticket_key, nonce).bytes};
}

}  // namespace penstock::presence
