#pragma once

#include <cstdint>

namespace penstock::bench {

/// When the packets of an open loop are due: evenly, whatever became of those before. All times are
/// TSC cycles. Pure.
class Schedule {
  public:
    /// The first packet is due at `began`. `packets_per_second`: more than 0.
    Schedule(std::uint64_t began, double packets_per_second, std::uint64_t tsc_hz) noexcept
        : began_(began), interval_(static_cast<double>(tsc_hz) / packets_per_second), due_(began) {}

    /// The next packet's time.
    [[nodiscard]] std::uint64_t due() const noexcept { return due_; }
    /// Packets before that one.
    [[nodiscard]] std::uint64_t passed() const noexcept { return passed_; }
    void pass() noexcept {
        ++passed_;
        due_ = began_ + static_cast<std::uint64_t>(interval_ * static_cast<double>(passed_));
    }

  private:
    std::uint64_t began_;
    double interval_;
    std::uint64_t due_;
    std::uint64_t passed_ = 0;
};

}  // namespace penstock::bench
