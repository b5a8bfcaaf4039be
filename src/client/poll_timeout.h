#pragma once

#include "base/clock.h"

#include <algorithm>
#include <chrono>

namespace penstock {

/// `until` as poll(2) takes it: milliseconds from `now`, rounded up, so that the deadline has
/// passed when it returns; at most a minute.
inline int poll_timeout_ms(MonotonicTime until, MonotonicTime now) noexcept {
    constexpr std::chrono::milliseconds kMost{60'000};
    if (until <= now) {
        return 0;
    }
    const auto left = std::min<std::chrono::nanoseconds>(until - now, kMost);
    return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(left).count());
}

/// now + length, without running over.
inline MonotonicTime time_after(MonotonicTime now, std::chrono::milliseconds length) noexcept {
    constexpr std::chrono::hours kForEver{24 * 365 * 100};
    return length >= kForEver ? MonotonicTime::max() : now + length;
}

}  // namespace penstock
