#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace penstock {

/// For how long each of some counters has not moved, looked at now and then. Pure.
class Standstill {
  public:
    /// `counts`: always as many, in the same order.
    void look(std::span<const std::uint64_t> counts, std::uint64_t now_ms);
    /// At the newest look; 0 at the first.
    [[nodiscard]] std::uint64_t still_ms(std::size_t index) const noexcept {
        return counted_[index].still_ms;
    }

    /// What one look may add: whoever was stopped himself for longer does not know what moved.
    static constexpr std::uint64_t kBetweenLooksMsMax = 250;

  private:
    struct Counted {
        std::uint64_t count = 0;
        std::uint64_t still_ms = 0;
    };
    std::vector<Counted> counted_;
    std::uint64_t looked_at_ms_ = 0;
};

}  // namespace penstock
