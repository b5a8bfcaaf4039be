#pragma once

#include "base/clock.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace penstock {

/// When datagrams are due at a steady rate of payload bits. Pure: time is given.
class RateClock {
  public:
    /// Datagrams due within this of each other leave together: no timer is finer, and it is below
    /// the millisecond a receiver's buffer minds.
    static constexpr std::chrono::microseconds kStep{250};
    /// Whoever falls behind by more than this (a suspended machine) does not make it up in a burst.
    static constexpr std::chrono::milliseconds kBehindMost{100};

    /// `bits_per_second`: at least 1.
    explicit RateClock(std::uint64_t bits_per_second) : bits_per_second_(bits_per_second) {}

    void start(MonotonicTime now) noexcept {
        begin_ = now;
        bits_ = 0;
    }
    [[nodiscard]] bool is_due(MonotonicTime now) const noexcept { return now >= due_at(); }
    /// A datagram of this size left.
    void sent(std::size_t bytes, MonotonicTime now) noexcept {
        if (now - due_at() > kBehindMost) {
            start(now);
        }
        bits_ += bytes * 8;
    }
    /// When to look again after all that was due has been sent.
    [[nodiscard]] MonotonicTime next_at(MonotonicTime now) const noexcept {
        return std::max<MonotonicTime>(due_at(), now + kStep);
    }

  private:
    [[nodiscard]] MonotonicTime due_at() const noexcept {
        // Whole seconds apart, so that bits * 10^9 cannot run over.
        const std::uint64_t seconds = bits_ / bits_per_second_;
        const std::uint64_t rest = bits_ % bits_per_second_;
        const double fraction = static_cast<double>(rest) / static_cast<double>(bits_per_second_);
        return begin_ + std::chrono::seconds{seconds} +
               std::chrono::nanoseconds{static_cast<std::int64_t>(fraction * 1e9)};
    }

    std::uint64_t bits_per_second_;
    std::uint64_t bits_ = 0;
    MonotonicTime begin_{};
};

}  // namespace penstock
