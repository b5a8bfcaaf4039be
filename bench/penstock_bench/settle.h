#pragma once

#include "penstock_bench/cycles.h"

#include <rte_cycles.h>
#include <rte_pause.h>

#include <chrono>
#include <cstdint>

namespace penstock::bench {

/// For copies to come: longer than Linux may keep a worker from its CPU.
inline constexpr std::chrono::milliseconds kCopyPatience{200};

/// Waits until `count()`, which never falls, is `wanted`, or has not risen for kCopyPatience.
/// DPDK is started.
template <typename Count>
void settle(std::uint64_t wanted, const Count& count) {
    const std::uint64_t patience = cycles_of(kCopyPatience);
    std::uint64_t quiet_since = rte_rdtsc();
    std::uint64_t seen = count();
    while (seen < wanted && rte_rdtsc() - quiet_since < patience) {
        rte_pause();
        if (const std::uint64_t now = count(); now != seen) {
            seen = now;
            quiet_since = rte_rdtsc();
        }
    }
}

}  // namespace penstock::bench
