#pragma once

#include <chrono>

namespace penstock {

/// CLOCK_MONOTONIC. The only clock decisions are made by; wall time appears only in what is
/// printed.
using MonotonicClock = std::chrono::steady_clock;
using MonotonicTime = MonotonicClock::time_point;

inline MonotonicTime monotonic_now() noexcept { return MonotonicClock::now(); }

}  // namespace penstock
