#include "presence/queries.h"

#include "presence/data_trouble.h"
#include "presence/duty.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

namespace penstock::presence {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;

std::uint64_t ms_between(MonotonicTime from, MonotonicTime to) {
    return from >= to ? 0
                      : static_cast<std::uint64_t>(duration_cast<milliseconds>(to - from).count());
}

Error not_found(std::string_view kind, const std::string& name) {
    return {ErrorCode::not_found,
            fmt::format("no {} is called {}; see `penstockctl {} list`",
                        kind == "stream" ? "stream" : "data server",
                        name,
                        kind)};
}

std::string_view state_word(const State& state, const DataServer& server, MonotonicTime now) {
    if (!server.session) {
        return "gone";
    }
    if (const std::optional<Duty> duty = duty_of(state, server.name)) {
        if (duty->kind == Duty::Kind::cordoned) {
            return "cordoned";
        }
        return is_empty(server) ? "drained" : "draining";
    }
    const bool is_young = server.load.has_value() && now - server.load_at < kReportAgeMax;
    if (!is_young) {
        return "stale";
    }
    if (now < server.quarantined_until) {
        return "quarantined";
    }
    return troubles_of(server).empty() ? "attached" : "degraded";
}

control::ServerInfo info_of(const State& state, const DataServer& server, MonotonicTime now) {
    control::ServerInfo info;
    info.name = server.name;
    info.boot_id = server.hello.boot_id;
    info.state = state_word(state, server, now);
    info.ports = server.hello.ports;
    info.trouble = troubles_of(server);
    info.load = server.load;
    info.generation_sent = server.generation_sent;
    info.generation_applied = server.generation_applied;
    if (server.load.has_value()) {
        info.report_age_ms = ms_between(server.load_at, now);
        info.projected = server.load->utilisation;
    }
    info.projected += reserved_of(server);
    if (server.handed_out_at.has_value() && !server.is_recent_over) {
        const MonotonicTime end = *server.handed_out_at + state.settings.recent_period;
        info.recent = now < end;
        info.recent_left_ms = ms_between(now, end);
    }
    info.streams = static_cast<std::uint32_t>(server.streams.size() + server.moving.size());
    info.consumers = static_cast<std::uint32_t>(server.flows);
    return info;
}

std::optional<control::StreamLoad> load_at(const DataServer& server, StreamId stream) {
    const auto load =
        std::ranges::lower_bound(server.stream_loads, stream, {}, &control::StreamLoad::stream);
    if (load == server.stream_loads.end() || load->stream != stream) {
        return std::nullopt;
    }
    return *load;
}

control::StreamInfo info_of(const State& state, const Stream& stream) {
    control::StreamInfo info;
    info.name = stream.name;
    info.stream = stream.id;
    info.state = phase_of(stream);
    info.data_server = stream.server;
    if (stream.endpoint.port != 0) {
        info.endpoint = stream.endpoint;
    }
    info.publisher = stream.publisher;
    if (stream.publisher_address.port != 0) {
        info.publisher_address = stream.publisher_address;
    }
    info.consumers = static_cast<std::uint32_t>(stream.flows.size());
    info.requests = static_cast<std::uint32_t>(stream.requests.size());
    info.version = stream.version;
    info.close_after_ms =
        static_cast<std::uint64_t>(duration_cast<milliseconds>(stream.close_after).count());
    info.start = stream.start;
    info.max_bits_per_second = stream.max_bits_per_second;
    if (const auto server = state.servers.find(stream.server); server != state.servers.end()) {
        info.load = load_at(server->second, stream.id);
    }
    info.hand_outs = stream.hand_outs;
    return info;
}

void append_consumers(const Stream& stream,
                      MonotonicTime now,
                      std::vector<control::ConsumerInfo>& found) {
    std::map<PeerId, control::ConsumerInfo> by_id;
    for (const auto& [id, consumer] : stream.requests) {
        control::ConsumerInfo& info = by_id[id];
        info.state = consumer.told.state == control::AssignmentState::ready ? "joining" : "waiting";
        info.requested_ms_ago = ms_between(consumer.requested_at, now);
    }
    for (const control::ConsumerFlow& flow : stream.flows) {
        control::ConsumerInfo& info = by_id[flow.consumer];
        info.state = "receiving";
        info.flow = flow;
    }
    for (auto& [id, info] : by_id) {
        info.consumer = id;
        info.stream = stream.name;
        if (info.state != "waiting") {
            info.data_server = stream.server;
        }
        found.push_back(std::move(info));
    }
}

/// One stream by name or, for "", all of them in the order of their names.
Result<std::vector<const Stream*>> select_streams(const State& state, const std::string& name) {
    std::vector<const Stream*> found;
    for (const auto& [id, stream] : state.streams) {
        if (name.empty() || stream.name == name) {
            found.push_back(&stream);
        }
    }
    if (found.empty() && !name.empty()) {
        return not_found("stream", name);
    }
    std::ranges::sort(
        found, {}, [](const Stream* stream) -> const std::string& { return stream->name; });
    return found;
}

}  // namespace

Result<std::vector<control::ServerInfo>> list_servers(const State& state,
                                                      const std::string& name,
                                                      MonotonicTime now) {
    std::vector<control::ServerInfo> found;
    for (const auto& [server_name, server] : state.servers) {
        if (name.empty() || server_name == name) {
            found.push_back(info_of(state, server, now));
        }
    }
    if (found.empty() && !name.empty()) {
        return not_found("server", name);
    }
    std::ranges::sort(found, {}, &control::ServerInfo::name);
    return found;
}

Result<std::vector<control::StreamInfo>> list_streams(const State& state, const std::string& name) {
    const Result<std::vector<const Stream*>> selected = select_streams(state, name);
    if (!selected) {
        return selected.error();
    }
    std::vector<control::StreamInfo> found;
    for (const Stream* stream : *selected) {
        found.push_back(info_of(state, *stream));
    }
    return found;
}

Result<std::vector<control::ConsumerInfo>> list_consumers(const State& state,
                                                          const std::string& stream,
                                                          MonotonicTime now) {
    const Result<std::vector<const Stream*>> selected = select_streams(state, stream);
    if (!selected) {
        return selected.error();
    }
    std::vector<control::ConsumerInfo> found;
    for (const Stream* one : *selected) {
        append_consumers(*one, now, found);
    }
    return found;
}

Result<control::Explanation> explain(const State& state,
                                     const std::string& stream,
                                     MonotonicTime now) {
    const Result<std::vector<const Stream*>> selected = select_streams(state, stream);
    if (!selected || stream.empty()) {
        return not_found("stream", stream);
    }
    const Stream& found = *selected->front();
    control::Explanation explanation;
    explanation.stream = found.name;
    explanation.state = phase_of(found);
    explanation.recent_period_ms = static_cast<std::uint64_t>(
        duration_cast<milliseconds>(state.settings.recent_period).count());
    if (found.decided_at.has_value()) {
        explanation.decided = true;
        explanation.decided_ms_ago = ms_between(*found.decided_at, now);
        explanation.trigger = found.decided_for;
        explanation.chosen = found.decision.chosen;
        explanation.reason = found.decision.reason;
        explanation.candidates = found.decision.candidates;
    }
    return explanation;
}

std::vector<control::EventRecord> list_events(const State& state,
                                              std::uint64_t after_sequence,
                                              const std::string& stream,
                                              std::size_t most,
                                              MonotonicTime now,
                                              std::chrono::milliseconds unix_now) {
    std::vector<control::EventRecord> records;
    for (LoggedEvent& event : state.events.after(after_sequence, stream, most)) {
        control::EventRecord record;
        record.sequence = event.sequence;
        record.unix_ms = static_cast<std::uint64_t>(unix_now.count()) - ms_between(event.at, now);
        record.kind = to_string(event.kind);
        record.stream = std::move(event.stream);
        record.data_server = std::move(event.data_server);
        record.publisher = event.publisher;
        record.consumer = event.consumer;
        record.detail = std::move(event.detail);
        records.push_back(std::move(record));
    }
    return records;
}

control::Status status_of(const State& state, MonotonicTime now) {
    control::Status status;
    status.epoch = state.facts.epoch;
    status.uptime_ms = ms_between(state.started_at, now);
    status.servers = static_cast<std::uint32_t>(std::ranges::count_if(
        state.servers, [](const auto& entry) { return static_cast<bool>(entry.second.session); }));
    status.publishers =
        static_cast<std::uint32_t>(std::ranges::count_if(state.streams, [](const auto& entry) {
            return static_cast<bool>(entry.second.publisher_session);
        }));
    status.consumers = static_cast<std::uint32_t>(state.consumers);
    return status;
}

}  // namespace penstock::presence
