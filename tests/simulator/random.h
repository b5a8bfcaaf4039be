#pragma once

#include <chrono>
#include <cstdint>

namespace penstock::simulator {

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): the one source of chance of a run, the same on
/// every machine.
class Random {
  public:
    explicit Random(std::uint64_t seed) noexcept : state_(seed) {}

    std::uint64_t next() noexcept {
        state_ += 0x9e3779b97f4a7c15ULL;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
        return z ^ (z >> 31U);
    }
    /// 0..below - 1; `below` > 0.
    std::uint64_t below(std::uint64_t below) noexcept { return next() % below; }
    /// 0 <= x < 1.
    double unit() noexcept { return static_cast<double>(next() >> 11U) * 0x1p-53; }
    bool chance(double probability) noexcept { return unit() < probability; }
    std::chrono::nanoseconds between(std::chrono::nanoseconds least,
                                     std::chrono::nanoseconds most) noexcept {
        const auto range = static_cast<std::uint64_t>((most - least).count()) + 1;
        return least + std::chrono::nanoseconds(static_cast<std::int64_t>(below(range)));
    }

  private:
    std::uint64_t state_;
};

}  // namespace penstock::simulator
