#pragma once

#include "presence/turn.h"
#include "rpc/operator_messages.h"

namespace penstock::presence {

/// Moving a stream from a busy data server to one that is not, if an operator wants that at all.

/// What would be moved now, without doing it: of the busiest data server (over some seconds) the
/// stream whose move to the least busy that may be handed out leaves the two least apart.
/// Nothing, and why, unless they come nearer by a quarter.
[[nodiscard]] control::RebalancePlan plan_rebalance(const State& state, MonotonicTime now);

/// When rebalance() has to look again; kNever if no operator wants it.
[[nodiscard]] MonotonicTime rebalance_due(const State& state) noexcept;

/// Begins the move that is planned, if it is time to: at most one a minute.
void rebalance(Turn& turn);

}  // namespace penstock::presence
