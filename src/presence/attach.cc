#include "presence/attach.h"

#include "presence/data_trouble.h"
#include "presence/duty.h"
#include "presence/find_stream.h"
#include "presence/move_stream.h"
#include "presence/open_stream.h"
#include "presence/placement.h"
#include "presence/recover.h"
#include "presence/sessions.h"
#include "presence/stop_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

namespace penstock::presence {
namespace {

constexpr std::uint32_t kEpochRetryMs = 100;      // a durable write takes that long if it succeeds
constexpr std::size_t kTurnsMost = 3;             // of two with one name, within
constexpr std::chrono::seconds kTurnsPeriod{60};  // this; then it is in quarantine
constexpr std::chrono::seconds kQuarantine{60};   // from the last turn
constexpr std::size_t kFormerBootsMax = 8;

LoggedEvent about_server(const DataServer& server, EventKind kind, std::string detail) {
    LoggedEvent event;
    event.kind = kind;
    event.data_server = server.name;
    event.detail = std::move(detail);
    return event;
}

/// Streams that wait for a data server may have this one, now that it has changed: a few of them,
/// in turn.
void retry_unplaced(Turn& turn, DataServer& server) {
    std::set<StreamId>& unplaced = turn.state.unplaced;
    const std::size_t most = std::min(unplaced.size(), kRetriesAtOnce);
    for (std::size_t i = 0; i < most && server.rank.has_value(); ++i) {
        auto next = unplaced.upper_bound(turn.state.retried_last);
        if (next == unplaced.end()) {
            next = unplaced.begin();
        }
        if (next == unplaced.end()) {
            return;
        }
        turn.state.retried_last = *next;
        Stream& stream = *find(turn.state, *next);
        if (can_take(turn.state, server, stream, turn.now)) {
            advance(turn, stream);
        }
    }
}

/// The newest load of every stream that is here.
void take_stream_loads(DataServer& server, const std::vector<control::StreamLoad>& loads) {
    std::vector<control::StreamLoad>& kept = server.stream_loads;
    auto at = kept.begin();
    for (const control::StreamLoad& load : loads) {
        // They come in the order of their ids, but may begin anywhere in it.
        if (at == kept.end() || at->stream != load.stream) {
            at = std::ranges::lower_bound(kept, load.stream, {}, &control::StreamLoad::stream);
        }
        if (at != kept.end() && at->stream == load.stream) {
            *at++ = load;
        } else if (server.desired.contains(load.stream)) {
            at = std::next(kept.insert(at, load));
        }
    }
}

/// A report has come. After a silence it takes reports for some time until the data server counts
/// as steady, so that one that comes and goes is not given streams in between.
void note_steadiness(DataServer& server, MonotonicTime now) {
    if (!server.load.has_value()) {
        server.steady_since = now;
    } else if (now - server.load_at >= kReportAgeMax) {
        server.was_silent = true;
        server.steady_since = now;
    }
    if (server.was_silent && now - *server.steady_since >= kSteadyPeriod) {
        server.was_silent = false;
    }
}

/// "" or why this hello cannot be welcomed.
std::string objection(const State& state,
                      const DataServer* known,
                      const control::DataServerHello& hello) {
    if (known != nullptr && known->session && known->hello.boot_id != hello.boot_id) {
        return fmt::format("another data server with the name {} is attached; give each its own",
                           hello.name);
    }
    const auto is_gone = [](const auto& entry) { return !entry.second.session; };
    if (known == nullptr && state.servers.size() >= state.settings.data_servers_max &&
        std::ranges::none_of(state.servers, is_gone)) {
        return fmt::format("{} data servers are attached already", state.settings.data_servers_max);
    }
    return epoch_objection(state, hello.epoch_seen);
}

/// A process that had the name before another one had it is back: both live, on two hosts. They
/// take turns as the one that is attached fails; too often, and the name gets no new streams. One
/// that was only started again is a process that was never seen.
void count_turn(Turn& turn, DataServer& server, std::uint64_t boot_id) {
    if (server.hello.boot_id == boot_id) {
        return;
    }
    const bool is_back = std::ranges::count(server.former_boots, boot_id) > 0;
    server.former_boots.push_back(server.hello.boot_id);
    if (server.former_boots.size() > kFormerBootsMax) {
        server.former_boots.pop_front();
    }
    if (!is_back) {
        return;
    }
    std::erase_if(server.turns, [&](MonotonicTime at) { return turn.now >= at + kTurnsPeriod; });
    server.turns.push_back(turn.now);
    if (server.turns.size() > kTurnsMost) {
        server.turns.pop_front();
        server.quarantined_until = turn.now + kQuarantine;
        turn.log(about_server(server,
                              EventKind::quarantined,
                              "two processes take turns with its name: give each its own"));
    }
}

DataServer& server_for(State& state, const control::DataServerHello& hello) {
    if (DataServer* known = find_server(state, hello.name)) {
        return *known;
    }
    if (state.servers.size() >= state.settings.data_servers_max) {
        const auto gone = std::ranges::find_if(
            state.servers, [](const auto& entry) { return !entry.second.session; });
        state.wanted.servers.erase(gone->first);
        state.servers.erase(gone);
    }
    DataServer& server = state.servers[hello.name];
    server.name = hello.name;
    server.drain_end = drain_end(state, hello.name);
    return server;
}

/// Whether our epoch is above every one that another presence has used at this data server. If it
/// is not, it will be by the time the data server comes again.
bool outruns_epoch(Turn& turn, const DataServer* known, const control::DataServerHello& hello) {
    const bool obeyed_us = known != nullptr && known->hello.boot_id == hello.boot_id;
    const std::uint64_t ours = turn.state.facts.epoch;
    if (!obeyed_us && hello.epoch_seen != 0 && turn.now < turn.state.started_at + kSettlePeriod) {
        turn.state.former_presence = true;
        if (!turn.state.facts.servers.contains(hello.name)) {
            turn.state.knows_servers = false;  // it was never put on record; there may be more
        }
    }
    if (hello.epoch_seen > ours || (!obeyed_us && hello.epoch_seen == ours)) {
        raise_epoch(turn, hello.epoch_seen);
        return false;
    }
    return true;
}

/// Nothing else was decided about the stream since the data server opened it for this publisher.
bool may_continue(const Stream& stream, const control::StreamReport& report) {
    if (!stream.publisher) {
        return stream.step == StreamStep::idle;
    }
    const bool is_undecided =
        stream.step == StreamStep::displaced ||
        (stream.step == StreamStep::idle && stream.desired == control::DesiredState::unspecified);
    return is_undecided && (!report.publisher || stream.publisher == report.publisher);
}

/// A presence that has just started asks this instead: several data servers may have the stream,
/// all but one of them only because nobody told them to close it, and whoever has claimed it
/// already may have been the quicker of two publishers, not the one that transmits. It goes on
/// where a publisher was accepted and most consumers are.
bool may_continue_settling(const Stream& stream, const control::StreamReport& report) {
    if (!report.publisher) {
        return false;
    }
    if (stream.step == StreamStep::idle) {
        return !stream.publisher || stream.desired == control::DesiredState::unspecified;
    }
    const bool was_assigned_by_us = stream.hand_outs > 0;
    return stream.step == StreamStep::started && !was_assigned_by_us &&
           report.consumers.size() > stream.flows.size();
}

/// The stream was taken for one that goes on at another data server.
void leave_other_copy(Turn& turn, Stream& stream) {
    if (DataServer* other = stream.at) {
        if (const auto copy = other->desired.find(stream.id); copy != other->desired.end()) {
            spare(*other, control::DesiredStream(copy->second));
            rank(turn.state, *other, turn.now);
            arm_session(turn, other->session);
        }
        forget_flows(turn.state, stream);
    }
}

/// The data server has accepted another publisher than the one that has claimed the stream.
void replace_claimant(Turn& turn, Stream& stream, PeerId publisher) {
    const SessionId claimant = std::exchange(stream.publisher_session, SessionId{});
    stream.publisher = publisher;
    stream.claim_by = turn.now + (claimant ? kRivalClaimPeriod : kClaimPeriod);
    stream.desired = control::DesiredState::unspecified;
    if (claimant) {
        reject(turn,
               claimant,
               fmt::format("the stream {} has another publisher", stream.name),
               kRetryAfterMs);
    }
}

/// The stream goes on where the data server has it.
void continue_stream(Turn& turn,
                     DataServer& server,
                     Stream& stream,
                     const control::StreamReport& report) {
    const bool was_told = stream.step == StreamStep::displaced &&
                          stream.desired == control::DesiredState::start &&
                          stream.endpoint == report.endpoint && stream.lost_server == server.name;
    leave_other_copy(turn, stream);
    if (!stream.publisher || (report.publisher && stream.publisher != report.publisher)) {
        replace_claimant(turn, stream, report.publisher);
    }
    put_on(stream, server);
    stream.step = StreamStep::started;
    stream.endpoint = report.endpoint;
    stream.displaced_since.reset();
    stream.unwatched_since.reset();
    stream.transmitting = stream.publisher && report.publisher == stream.publisher;
    open_at(turn, server, stream);
    turn.log(about(stream, EventKind::adopted, "open at " + to_string(report.endpoint)));
    const bool is_undirected = stream.desired == control::DesiredState::unspecified;
    if (stream.publisher_session && !is_undirected && !(was_told && stream.transmitting)) {
        direct_publisher(turn, stream, control::DesiredState::start);
    }
}

/// What follows from the data server having this stream open. Whatever is not continued or known
/// to be here is closed by the full set that answers the reports.
void compare_reported(Turn& turn, DataServer& server, control::StreamReport report) {
    Stream* stream = find_or_make_stream(turn, report.name);
    if (stream == nullptr) {
        return;
    }
    if (stream->move.has_value() && stream->move->server == server.name) {
        if (is_in_two_places(*stream) && stream->move->endpoint != report.endpoint) {
            lose_other(turn, *stream, "it was opened anew there");
        }
        return;
    }
    if (stream->server == server.name) {
        if (stream->step == StreamStep::opening ||
            (stream->step == StreamStep::started && stream->endpoint != report.endpoint)) {
            start_stream(turn, *stream, report.endpoint);
        }
    } else if (is_settling(turn.state, turn.now) && stream->step != StreamStep::displaced
                   ? may_continue_settling(*stream, report)
                   : may_continue(*stream, report)) {
        continue_stream(turn, server, *stream, report);
    } else if (is_settling(turn.state, turn.now)) {
        spare(server, {report.stream, report.name, report.publisher, 0});
        arm_session(turn, server.session);
    }
    if (stream->server == server.name) {
        stream->publisher_address = report.publisher_address;
        take_flows(turn, *stream, std::move(report));
    }
}

/// The data server came back without a stream that was open there: it has to be opened again.
void reopen_unreported(Turn& turn, DataServer& server, StreamId id) {
    Stream& stream = *find(turn.state, id);
    if (server.reported.contains(id) || stream.step != StreamStep::started) {
        return;
    }
    if (go_on_at_other(turn, stream)) {
        close_at(turn, server, id);
    } else {
        stream.step = StreamStep::opening;
        stream.displaced_since = turn.now;
        forget_flows(turn.state, stream);
    }
}

}  // namespace

void attach(Turn& turn, SessionId session, const control::DataServerHello& hello) {
    if (std::string why = protocol_objection(hello.protocol, hello.protocol_oldest); !why.empty()) {
        reject(turn, session, std::move(why));
        return;
    }
    const DataServer* known = find_server(turn.state, hello.name);
    if (std::string why = objection(turn.state, known, hello); !why.empty()) {
        reject(turn, session, std::move(why), kRetryAfterMs);
        return;
    }
    if (!outruns_epoch(turn, known, hello)) {
        reject(turn,
               session,
               fmt::format("it has obeyed epoch {} and ours is {}, which is being raised",
                           hello.epoch_seen,
                           turn.state.facts.epoch),
               turn.state.store_trouble.empty() ? kEpochRetryMs : kRetryAfterMs);
        return;
    }
    DataServer& server = server_for(turn.state, hello);
    if (server.session) {
        unrank(turn.state, server);
        const SessionId old = std::exchange(server.session, SessionId{});
        drop_session(turn, old);
    }
    server.session = session;
    count_turn(turn, server, hello.boot_id);
    server.was_silent = server.was_silent && server.hello.boot_id == hello.boot_id;
    server.hello = hello;
    server.ticket_key =
        derive_ticket_key(turn.state.facts.master_key, hello.name, hello.boot_id, kTicketKeyId);
    server.sealer = TicketSealer(server.ticket_key);
    server.clock_ms = hello.monotonic_ms;
    server.clock_at = turn.now;
    server.load.reset();
    server.window = {};
    server.load_refused = false;
    server.ports.assign(hello.ports.size(), Part{});
    server.workers = Part{};
    forget_measured(turn.state, server);
    server.reported.clear();
    server.reports_done = false;
    server.in_flight = false;
    server.spared.clear();
    server.sent.clear();
    server.applied.clear();
    server.changed.clear();
    server.unanswered.clear();
    server.generation_sent = std::max(server.generation_sent, hello.applied_generation);
    server.generation_applied = hello.applied_generation;
    Session& entry = turn.state.sessions.at(session);
    entry.greeted = true;
    entry.server = &server;
    control::DataServerWelcome welcome;
    welcome.epoch = turn.state.facts.epoch;
    welcome.load_interval_ms = static_cast<std::uint32_t>(kLoadInterval.count());
    welcome.ticket_key_id = kTicketKeyId;
    welcome.ticket_key = server.ticket_key.bytes;
    turn.act(ToDataServer{session, welcome});
    arm_session(turn, session);
}

void take_load(Turn& turn, DataServer& server, control::LoadReport load) {
    server.clock_ms = load.monotonic_ms;
    server.clock_at = turn.now;
    if (!std::isfinite(load.utilisation) || load.utilisation < 0) {
        if (!server.load_refused) {
            server.load_refused = true;
            turn.log(about_server(
                server, EventKind::load_refused, fmt::format("utilisation {}", load.utilisation)));
        }
        return;
    }
    server.load_refused = false;
    take_stream_loads(server, load.streams);
    load.streams = {};
    note_steadiness(server, turn.now);
    server.load = std::move(load);
    server.load->utilisation = std::min(server.load->utilisation, 1.0);
    server.load_at = turn.now;
    take_measured(turn.state, server, turn.now);
    take_window(server, turn.now);
    watch_parts(turn, server);
    rank(turn.state, server, turn.now);
    leave_trouble(turn, server);
    retry_unplaced(turn, server);
    go_on_draining(turn, server);
}

void take_stream_report(Turn& turn, DataServer& server, control::StreamReport report) {
    Stream* stream = find(turn.state, report.stream);
    const bool is_known = stream != nullptr && stream->name == report.name;
    if (!is_known && stream_id_of(report.name) != report.stream) {
        reject(turn, server.session, "the id of the reported stream is not that of its name");
        return;
    }
    if (!server.reports_done) {
        control::StreamReport& kept = server.reported[report.stream];
        if (server.reported.size() > server.hello.streams_max) {
            reject(turn, server.session, "more streams are reported than streams_max of the hello");
        } else if (!report.continued) {
            kept = std::move(report);
        } else if (kept.consumers.size() + report.consumers.size() <= server.hello.consumers_max) {
            kept.consumers.insert(
                kept.consumers.end(), report.consumers.begin(), report.consumers.end());
        }
        return;
    }
    if (stream != nullptr && stream->move.has_value() && stream->move->server == server.name) {
        take_move_report(turn, *stream, std::move(report));
        return;
    }
    if (stream != nullptr && server.spared.contains(report.stream) &&
        is_settling(turn.state, turn.now) && may_continue_settling(*stream, report)) {
        continue_stream(turn, server, *stream, report);  // its publisher has joined there since
    }
    // A report may cross the set that closed or moved the stream.
    if (stream == nullptr || stream->server != server.name || stream->endpoint != report.endpoint) {
        return;
    }
    const PeerId accepted = report.publisher;
    stream->publisher_address = report.publisher_address;
    take_flows(turn, *stream, std::move(report));
    if (stream->step == StreamStep::started && stream->publisher) {
        const bool is_accepted = accepted == stream->publisher;
        if (is_accepted && !stream->transmitting) {
            turn.log(about(*stream, EventKind::transmitting));
        }
        stream->transmitting = is_accepted;
    }
    advance(turn, *stream);
}

void finish_reports(Turn& turn, DataServer& server) {
    if (server.reports_done) {
        return;
    }
    for (auto& [id, report] : server.reported) {
        server.applied.insert(id);
        compare_reported(turn, server, std::move(report));
    }
    const std::vector<StreamId> here(server.streams.begin(), server.streams.end());
    for (const StreamId id : here) {
        reopen_unreported(turn, server, id);
    }
    turn.log(about_server(
        server,
        EventKind::server_attached,
        fmt::format("boot {:016x}, {} streams open", server.hello.boot_id, server.applied.size())));
    server.reported.clear();
    server.reports_done = true;
    server.full_wanted = true;
    welcome_back(turn, server.name);
    send_set(turn, server);
    rank(turn.state, server, turn.now);
    for (const StreamId id : here) {
        if (Stream* stream = find(turn.state, id)) {
            advance(turn, *stream);
        }
    }
    retry_unplaced(turn, server);
}

void detach(Turn& turn, DataServer& server, std::string_view reason) {
    unrank(turn.state, server);
    server.was_silent = server.was_silent ||
                        (server.load.has_value() && turn.now - server.load_at >= kReportAgeMax);
    server.session = SessionId{};
    server.reports_done = false;
    server.in_flight = false;
    server.desired.clear();
    server.spared.clear();
    server.desired_bytes = 0;
    server.stream_loads.clear();
    server.sent.clear();
    server.applied.clear();
    server.changed.clear();
    server.unanswered.clear();
    server.reported.clear();
    forget_measured(turn.state, server);
    turn.log(about_server(server, EventKind::server_gone, std::string(reason)));
    const std::vector<StreamId> moving(server.moving.begin(), server.moving.end());
    for (const StreamId id : moving) {
        Stream& stream = *find(turn.state, id);
        lose_other(turn, stream, "the data server was lost");
        advance(turn, stream);
    }
    const std::vector<StreamId> lost(server.streams.begin(), server.streams.end());
    for (const StreamId id : lost) {
        Stream& stream = *find(turn.state, id);
        if (go_on_at_other(turn, stream)) {
            advance(turn, stream);
            continue;
        }
        forget_flows(turn.state, stream);
        if (stream.step == StreamStep::closing || !stream.publisher) {
            finish_close(turn, stream);
        } else if (stream.step == StreamStep::started || stream.displaced_since.has_value()) {
            stream.step = StreamStep::displaced;
            stream.displaced_since = stream.displaced_since.value_or(turn.now);
            stream.lost_server = server.name;
            take_off(stream);
            stream.trigger = "loss of data server " + server.name;
        } else if (stream.step == StreamStep::opening) {
            stream.step = StreamStep::idle;
            take_off(stream);
        } else {
            take_off(stream);  // stopping: nothing is left to be closed
        }
        advance(turn, stream);
    }
}

std::uint64_t clock_of(const DataServer& server, MonotonicTime now) noexcept {
    const auto passed =
        std::chrono::duration_cast<std::chrono::milliseconds>(now - server.clock_at);
    return server.clock_ms + static_cast<std::uint64_t>(passed.count());
}

}  // namespace penstock::presence
