#include "presence/assign_publisher.h"

#include "presence/open_stream.h"
#include "presence/sessions.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace penstock::presence {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;

/// What a stream takes of the data server's smallest link; settings.reserve if either is unknown.
double share_of(const DataServer& server, std::uint64_t max_bits_per_second, double reserve) {
    std::uint64_t smallest = 0;
    for (const control::Port& port : server.hello.ports) {
        if (port.link_bits_per_second != 0 &&
            (smallest == 0 || port.link_bits_per_second < smallest)) {
            smallest = port.link_bits_per_second;
        }
    }
    if (smallest == 0 || max_bits_per_second == 0) {
        return reserve;
    }
    return static_cast<double>(max_bits_per_second) / static_cast<double>(smallest);
}

/// Bytes of the names and numbers in a full set, and of one more stream; an upper bound.
std::size_t set_bytes(const DataServer& server, const Stream* another) {
    constexpr std::size_t kEntryBytes = 40;  // ids, rate, field keys and lengths
    std::size_t bytes = another == nullptr ? 0 : another->name.size() + kEntryBytes;
    for (const auto& [id, desired] : server.desired) {
        bytes += desired.name.size() + kEntryBytes;
    }
    return bytes;
}

std::string unfit_reason(const DataServer& server, const Stream* stream) {
    if (!server.session) {
        return "it is not attached";
    }
    if (!server.reports_done) {
        return "it has not reported its streams yet";
    }
    if (!server.load.has_value()) {
        return "it has not reported its load yet";
    }
    if (server.desired.size() >= server.hello.streams_max ||
        set_bytes(server, stream) > kSetBytesMax) {
        return fmt::format("it has {} streams and takes no more", server.desired.size());
    }
    if (stream != nullptr) {
        if (const auto refusal = stream->refusals.find(server.name);
            refusal != stream->refusals.end()) {
            return "it refused the stream: " + refusal->second;
        }
    }
    return "";
}

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

void record_decision(Turn& turn, Stream& stream, Decision decision) {
    const bool was_unplaced = turn.state.unplaced.contains(stream.id);
    stream.decision = std::move(decision);
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
    if (hello.protocol != control::kProtocol) {
        reject(turn, session, protocol_objection(hello.protocol));
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
    stream->close_after = hello.close_after_ms == 0 ? turn.state.settings.close_after
                                                    : milliseconds(hello.close_after_ms);
    Session& entry = turn.state.sessions.at(session);
    entry.greeted = true;
    entry.stream = stream->id;
    turn.log(
        about(*stream, EventKind::publish_requested, is_back ? "the same publisher again" : ""));
    if (!is_back) {
        stream->desired = control::DesiredState::unspecified;
        stream->start_requested = hello.start == control::StartPolicy::publish;
        stream->trigger = "publish request";
    }
    if (stream->step == StreamStep::started) {
        // Its rate may be new, or the stream was adopted without a publisher.
        open_at(turn, *find_server(turn.state, stream->server), *stream);
    }
    if (stream->desired != control::DesiredState::unspecified) {
        send_desired(turn, *stream);
    }
    advance(turn, *stream);
    arm_session(turn, session);
}

bool assign_publisher(Turn& turn, Stream& stream) {
    const std::vector<ServerLoad> loads = server_loads(turn.state, &stream, turn.now);
    Decision decision = least_busy(loads, placement_rules(turn.state.settings));
    if (decision.chosen.empty()) {
        record_decision(turn, stream, std::move(decision));
        turn.state.unplaced.insert(stream.id);
        return false;
    }
    DataServer& server = *find_server(turn.state, decision.chosen);
    stream.server = server.name;
    stream.step = StreamStep::opening;
    stream.endpoint = Endpoint{};
    ++stream.hand_outs;
    record_decision(turn, stream, std::move(decision));
    turn.state.unplaced.erase(stream.id);
    stream.handed_out_before = std::exchange(server.handed_out_at, turn.now);
    server.reservations.push_back(
        {stream.id, share_of(server, stream.max_bits_per_second, turn.state.settings.reserve)});
    open_at(turn, server, stream);
    return true;
}

std::vector<ServerLoad> server_loads(const State& state, const Stream* stream, MonotonicTime now) {
    std::vector<ServerLoad> loads;
    for (const auto& [name, server] : state.servers) {
        ServerLoad load;
        load.name = name;
        load.unfit = unfit_reason(server, stream);
        if (server.load.has_value()) {
            load.utilisation = server.load->utilisation;
            load.bottleneck = server.load->bottleneck;
            load.report_age = now - server.load_at;
        }
        load.reserved = std::accumulate(
            server.reservations.begin(),
            server.reservations.end(),
            0.0,
            [](double sum, const Reservation& reservation) { return sum + reservation.share; });
        if (server.handed_out_at.has_value()) {
            load.handed_out_ago = now - *server.handed_out_at;
        }
        loads.push_back(std::move(load));
    }
    return loads;
}

PlacementRules placement_rules(const Settings& settings) {
    return {settings.recent_period, kReportAgeMax, settings.utilisation_limit};
}

}  // namespace penstock::presence
