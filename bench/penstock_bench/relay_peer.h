#pragma once

#include "penstock_bench/relay_board.h"
#include "penstock_bench/relay_point.h"

#include <penstock/result.h>

namespace penstock::bench {

/// Generator and sink: the other end of the relay's wires, in a process of its own, on one CPU.
/// Waits until the relay is ready, measures the most that comes through, then searches.
/// DPDK is started: once per process. Errors: one line with what, why, what to do. Thread: main.
Result<RelayPoint> measure_from_peer(const RelayPlan& plan, RelayBoard& board);

}  // namespace penstock::bench
