#include "presence/placement.h"

#include "base/units.h"
#include "presence/data_trouble.h"
#include "presence/duty.h"
#include "presence/state.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace penstock::presence {
namespace {

// Candidates a decision shows; with no more data servers than these, it shows them all.
constexpr std::size_t kCandidatesShown = 8;
constexpr std::size_t kFew = 4;  // data servers, of which all may be recent

enum class Unfit {
    no,
    away,
    silent,
    unmeasured,
    unsteady,
    quarantined,
    troubled,
    cordoned,
    draining,
    streams,
    consumers,
    rate,
    refused,
};

std::size_t consumers_max(const Settings& settings, const DataServer& server) {
    return lower(server.hello.consumers_max, settings.server_consumers_max);
}

/// Limits of admission: streams, consumers, declared rates.
Unfit over_limit(const Settings& settings, const DataServer& server, const Stream* stream) {
    const std::size_t another = stream == nullptr ? 0 : set_bytes_of(stream->name);
    if (server.desired.size() >= lower(server.hello.streams_max, settings.server_streams_max) ||
        server.desired_bytes + another > kSetBytesMax) {
        return Unfit::streams;
    }
    const Watchers more = stream == nullptr ? Watchers{} : stream->watchers;
    const std::size_t consumers_most = consumers_max(settings, server);
    if (server.watchers.consumers >= consumers_most ||
        server.watchers.consumers + more.consumers > consumers_most) {
        return Unfit::consumers;
    }
    const std::uint64_t rate_most = settings.server_bits_per_second_max;
    if (rate_most != 0 && server.watchers.bits_per_second + more.bits_per_second > rate_most) {
        return Unfit::rate;
    }
    return Unfit::no;
}

Unfit unfitness(const State& state,
                const DataServer& server,
                const Stream* stream,
                MonotonicTime now) {
    if (!server.session) {
        return Unfit::away;
    }
    if (!server.reports_done) {
        return Unfit::silent;
    }
    if (!server.load.has_value()) {
        return Unfit::unmeasured;
    }
    if (const std::optional<Duty> duty = duty_of(state, server.name)) {
        return duty->kind == Duty::Kind::cordoned ? Unfit::cordoned : Unfit::draining;
    }
    if (server.was_silent) {
        return Unfit::unsteady;
    }
    if (now < server.quarantined_until) {
        return Unfit::quarantined;
    }
    if (!why_unusable(server).empty()) {
        return Unfit::troubled;
    }
    if (stream != nullptr && stream->refusals.contains(server.name)) {
        return Unfit::refused;
    }
    return over_limit(state.settings, server, stream);
}

std::string unfit_reason(const State& state,
                         const DataServer& server,
                         const Stream* stream,
                         MonotonicTime now) {
    switch (unfitness(state, server, stream, now)) {
        case Unfit::no:
            return "";
        case Unfit::away:
            return "it is not attached";
        case Unfit::silent:
            return "it has not reported its streams yet";
        case Unfit::unmeasured:
            return "it has not reported its load yet";
        case Unfit::unsteady:
            return fmt::format("it was silent and has to report for {} before it is given streams",
                               format_duration(kSteadyPeriod));
        case Unfit::quarantined:
            return "two processes take turns with its name, which is in quarantine";
        case Unfit::troubled:
            return "its " + why_unusable(server);
        case Unfit::cordoned:
            return "it is cordoned";
        case Unfit::draining:
            return "it is being drained";
        case Unfit::streams:
            return fmt::format("it has {} streams and takes no more", server.desired.size());
        case Unfit::consumers:
            return fmt::format("it has {} consumers of {}",
                               server.watchers.consumers,
                               consumers_max(state.settings, server));
        case Unfit::rate:
            return fmt::format("its streams are declared to take {} of {}",
                               format_bit_rate(server.watchers.bits_per_second),
                               format_bit_rate(state.settings.server_bits_per_second_max));
        case Unfit::refused:
            return "it refused the stream: " + stream->refusals.at(server.name);
    }
    return "";
}

std::optional<Rank> rank_of(const State& state, const DataServer& server, MonotonicTime now) {
    if (unfitness(state, server, nullptr, now) != Unfit::no ||
        now - server.load_at >= kReportAgeMax) {
        return std::nullopt;
    }
    const double projected = server.load->utilisation + reserved_of(server);
    if (projected >= state.settings.utilisation_limit) {
        return std::nullopt;
    }
    const bool is_recent = server.handed_out_at.has_value() && !server.is_recent_over &&
                           now - *server.handed_out_at < state.settings.recent_period;
    return Rank{is_recent, projected, server.name};
}

/// The attached data servers as the table of Placement::changes_by_time.
struct RankChanges {
    State& state;
    [[nodiscard]] std::size_t size() const noexcept { return state.servers.size(); }
};

Deadline* find_deadline(RankChanges& changes, SessionId id) {
    const Session* const session = changes.state.sessions.find(id);
    return session == nullptr ? nullptr : &session->server->rank_change;
}

/// How many of the eligible data servers may be recent.
std::size_t recent_most(std::size_t eligible) { return eligible <= kFew ? kFew : eligible / 2; }

void note_recent(Placement& placement, DataServer& server, bool is_recent) {
    std::optional<MonotonicTime>& since = server.recent_since;
    if (since.has_value() && !(is_recent && since == server.handed_out_at)) {
        placement.recent.erase({*since, server.session});
        since.reset();
    }
    if (is_recent && !since.has_value()) {
        since = server.handed_out_at;
        placement.recent.insert({*since, server.session});
    }
}

DataServer& server_of(State& state, SessionId session) {
    return *state.sessions.at(session).server;
}

/// More of the eligible data servers are recent than may be: it is over for those handed out the
/// longest ago.
void end_recent_periods(State& state, MonotonicTime now) {
    Placement& placement = state.placement;
    while (placement.recent.size() > recent_most(placement.ranks.size())) {
        DataServer& oldest = server_of(state, placement.recent.begin()->second);
        oldest.is_recent_over = true;
        rank(state, oldest, now);
    }
}

/// The lowest of those recent and of those not, up to `most`, in the order of their ranks.
std::vector<const Rank*> lowest(const std::set<Rank>& ranks, std::size_t most) {
    std::vector<const Rank*> found;
    auto ready = ranks.begin();
    auto recent = ranks.lower_bound(Rank{true, 0, ""});
    const auto first_recent = recent;
    while (found.size() < most && (ready != first_recent || recent != ranks.end())) {
        const bool takes_ready = ready != first_recent &&
                                 (recent == ranks.end() || ready->projected <= recent->projected);
        found.push_back(takes_ready ? &*ready++ : &*recent++);
    }
    return found;
}

}  // namespace

std::size_t lower(std::size_t one, std::size_t other) noexcept {
    return one == 0 || (other != 0 && other < one) ? other : one;
}

std::size_t set_bytes_of(const std::string& name) noexcept {
    constexpr std::size_t kEntryBytes = 40;  // ids, rate, field keys and lengths
    return name.size() + kEntryBytes;
}

void rank(State& state, DataServer& server, MonotonicTime now) {
    Placement& placement = state.placement;
    std::optional<Rank> rank = rank_of(state, server, now);
    if (!rank.has_value()) {
        unrank(state, server);
        return;
    }
    MonotonicTime change_at = server.load_at + kReportAgeMax;
    if (rank->is_recent) {
        change_at = std::min(change_at, *server.handed_out_at + state.settings.recent_period);
    }
    RankChanges changes{state};
    placement.changes_by_time.set(changes, server.session, server.rank_change, change_at);
    note_recent(placement, server, rank->is_recent);
    if (server.rank == rank) {
        return;
    }
    if (server.rank.has_value()) {
        auto node = placement.ranks.extract(*server.rank);
        node.value() = *rank;
        placement.ranks.insert(std::move(node));
    } else {
        placement.ranks.insert(*rank);
    }
    server.rank = std::move(rank);
}

void rank_due(State& state, MonotonicTime now) {
    RankChanges changes{state};
    for (const SessionId due : state.placement.changes_by_time.take_due(changes, now)) {
        if (const Session* const session = state.sessions.find(due)) {
            rank(state, *session->server, now);
        }
    }
}

void unrank(State& state, DataServer& server) {
    note_recent(state.placement, server, false);
    if (server.rank.has_value()) {
        state.placement.ranks.erase(*server.rank);
        server.rank.reset();
    }
    server.rank_change = {};
    RankChanges changes{state};
    state.placement.changes_by_time.forget(changes, server.session);
}

Decision place(State& state, const Stream& stream, MonotonicTime now) {
    rank_due(state, now);
    end_recent_periods(state, now);
    const std::set<Rank>& ranks = state.placement.ranks;
    std::vector<ServerLoad> looked_at;
    Others others;
    const auto look_at = [&](const DataServer& server) {
        looked_at.push_back(load_of(state, server, &stream, now));
    };
    const auto chosen = std::ranges::find_if(ranks, [&](const Rank& rank) {
        return can_take(state, state.servers.find(rank.server)->second, stream, now);
    });
    if (state.servers.size() <= kCandidatesShown) {
        for (const auto& [name, server] : state.servers) {
            look_at(server);
        }
    } else if (chosen == ranks.end()) {
        for (auto server = state.servers.begin(); looked_at.size() < kCandidatesShown; ++server) {
            look_at(server->second);
        }
        others.ineligible = state.servers.size() - looked_at.size();
    } else {
        look_at(state.servers.find(chosen->server)->second);
        for (const Rank* rank : lowest(ranks, kCandidatesShown)) {
            if (rank->server != chosen->server && looked_at.size() < kCandidatesShown) {
                look_at(state.servers.find(rank->server)->second);
            }
        }
        others.eligible = ranks.size() - looked_at.size();
    }
    return least_busy(looked_at, placement_rules(state.settings), others);
}

bool can_take(const State& state,
              const DataServer& server,
              const Stream& stream,
              MonotonicTime now) {
    return server.rank.has_value() && unfitness(state, server, &stream, now) == Unfit::no;
}

ServerLoad load_of(const State& state,
                   const DataServer& server,
                   const Stream* stream,
                   MonotonicTime now) {
    ServerLoad load;
    load.name = server.name;
    load.unfit = unfit_reason(state, server, stream, now);
    if (server.load.has_value()) {
        load.utilisation = server.load->utilisation;
        load.bottleneck = server.load->bottleneck;
        load.report_age = now - server.load_at;
    }
    load.reserved = reserved_of(server);
    if (server.handed_out_at.has_value()) {
        load.handed_out_ago = now - *server.handed_out_at;
        load.is_recent_over = server.is_recent_over;
    }
    return load;
}

std::string why_full(const State& state, const DataServer& server, std::uint64_t rate) {
    const std::size_t most = consumers_max(state.settings, server);
    if (server.watchers.consumers >= most) {
        return fmt::format("its data server {} has {} consumers already", server.name, most);
    }
    if (const std::uint64_t limit = state.settings.server_bits_per_second_max;
        limit != 0 && server.watchers.bits_per_second + rate > limit) {
        return fmt::format("its data server {} has no rate left for one more consumer: {} of {}",
                           server.name,
                           format_bit_rate(server.watchers.bits_per_second),
                           format_bit_rate(limit));
    }
    return "";
}

PlacementRules placement_rules(const Settings& settings) {
    return {settings.recent_period, kReportAgeMax, settings.utilisation_limit};
}

}  // namespace penstock::presence
