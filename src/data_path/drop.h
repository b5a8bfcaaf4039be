#pragma once

#include "data_path/burst.h"
#include "data_path/counters.h"
#include "data_path/drop_reasons.h"

namespace penstock {

/// The only place where the data path discards a packet. References are also given back by
/// StreamRing's eviction and by replicate's let_go(), when a fan-out ends.
/// Owns:   takes all packets, chained ones with every segment.
/// Thread: the worker that `counters` belong to.
void drop(Burst packets, DropReason reason, WorkerCounters& counters) noexcept;

/// Counts copies that were owed and could not even be made.
/// Thread: the worker that `counters` belong to.
inline void count_lost(std::uint64_t copies, DropReason reason, WorkerCounters& counters) noexcept {
    counters.drops[static_cast<std::size_t>(reason)].add(copies);
}

}  // namespace penstock
