#pragma once

#include <chrono>
#include <cstdint>

namespace penstock::bench {

/// TSC cycles of `duration`, 0 or more. DPDK is started: only then is the TSC's rate known.
[[nodiscard]] std::uint64_t cycles_of(std::chrono::nanoseconds duration);

}  // namespace penstock::bench
