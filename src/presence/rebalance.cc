#include "presence/rebalance.h"

#include "presence/duty.h"
#include "presence/move_stream.h"
#include "presence/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

namespace penstock::presence {
namespace {

constexpr double kSpreadAfterMost = 0.75;  // of the spread before
constexpr double kSpreadLeast = 0.1;       // less is no reason to move anything
constexpr std::chrono::minutes kBetweenMoves{1};
constexpr std::chrono::seconds kLookInterval{1};

/// Busiest of those whose load is known; one that is drained is emptied anyway.
const DataServer* busiest(const State& state, MonotonicTime now) {
    const DataServer* found = nullptr;
    for (const auto& [name, server] : state.servers) {
        if (!server.session || !server.window.utilisation.has_value() ||
            now - server.load_at >= kReportAgeMax || is_draining(state, name)) {
            continue;
        }
        if (found == nullptr || std::pair(-*server.window.utilisation, server.name) <
                                    std::pair(-*found->window.utilisation, found->name)) {
            found = &server;
        }
    }
    return found;
}

/// What the data server carries and will, in the eyes of a plan.
double carried_by(const DataServer& server) {
    return std::max(*server.window.utilisation, server.load->utilisation + reserved_of(server));
}

/// Least busy of those that may be given a stream now.
const DataServer* least_busy_of(const State& state, const DataServer& busiest, MonotonicTime now) {
    const DataServer* found = nullptr;
    for (const Rank& rank : state.placement.ranks) {
        const DataServer& server = state.servers.find(rank.server)->second;
        // Time may have passed since it was ranked.
        if (rank.is_recent || &server == &busiest || !server.window.utilisation.has_value() ||
            now - server.load_at >= kReportAgeMax) {
            continue;
        }
        if (found == nullptr || carried_by(server) < carried_by(*found)) {
            found = &server;
        }
    }
    return found;
}

/// The stream whose move leaves the two least apart.
void choose_stream(const State& state,
                   const DataServer& from,
                   const DataServer& to,
                   MonotonicTime now,
                   control::RebalancePlan& plan) {
    plan.spread_after = plan.spread;
    for (const auto& [id, share] : from.window.shares) {
        const auto stream = state.streams.find(id);
        if (stream == state.streams.end() || stream->second.server != from.name ||
            !may_move(stream->second) || !can_take(state, to, stream->second, now)) {
            continue;
        }
        const double after = std::abs(plan.spread - 2 * share);
        if (after < plan.spread_after) {
            plan.spread_after = after;
            plan.share = share;
            plan.stream = stream->second.name;
        }
    }
}

control::RebalancePlan nothing(control::RebalancePlan plan, std::string reason) {
    plan.stream.clear();
    plan.share = 0;
    plan.spread_after = plan.spread;
    plan.reason = std::move(reason);
    return plan;
}

}  // namespace

control::RebalancePlan plan_rebalance(const State& state, MonotonicTime now) {
    control::RebalancePlan plan;
    plan.is_on = state.settings.rebalance;
    if (is_settling(state, now) || is_recovering(state, now)) {
        return nothing(plan, "presence has just begun to lead and does not know all streams yet");
    }
    const DataServer* from = busiest(state, now);
    const DataServer* to = from == nullptr ? nullptr : least_busy_of(state, *from, now);
    if (to == nullptr) {
        return nothing(plan,
                       "no two data servers have reported for long enough, of which one can "
                       "be given a stream");
    }
    plan.from = from->name;
    plan.to = to->name;
    plan.spread = std::max(*from->window.utilisation - carried_by(*to), 0.0);
    if (plan.spread < kSpreadLeast) {
        return nothing(plan,
                       fmt::format("{} and {} are {:.3f} apart; less than {:.3f} is left alone",
                                   plan.from,
                                   plan.to,
                                   plan.spread,
                                   kSpreadLeast));
    }
    choose_stream(state, *from, *to, now, plan);
    if (plan.spread_after > kSpreadAfterMost * plan.spread) {
        return nothing(
            plan,
            fmt::format("no stream of {} would bring it and {} nearer by a quarter: they "
                        "are {:.3f} apart",
                        plan.from,
                        plan.to,
                        plan.spread));
    }
    plan.reason = fmt::format("{} takes {:.3f}; without it {} and {} are {:.3f} apart, not {:.3f}",
                              plan.stream,
                              plan.share,
                              plan.from,
                              plan.to,
                              plan.spread_after,
                              plan.spread);
    return plan;
}

MonotonicTime rebalance_due(const State& state) noexcept {
    return state.settings.rebalance && state.leads ? state.rebalance_at : kNever;
}

void rebalance(Turn& turn) {
    if (turn.now < rebalance_due(turn.state)) {
        return;
    }
    turn.state.rebalance_at = turn.now + kLookInterval;
    rank_due(turn.state, turn.now);
    const control::RebalancePlan plan = plan_rebalance(turn.state, turn.now);
    if (plan.stream.empty()) {
        return;
    }
    Stream& stream = *find(turn.state, stream_id_of(plan.stream));
    begin_move_to(turn, stream, {plan.to, "rebalance: " + plan.reason, {}});
    turn.state.rebalance_at = turn.now + kBetweenMoves;
}

}  // namespace penstock::presence
