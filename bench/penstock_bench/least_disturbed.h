#pragma once

#include "penstock_bench/disturbance.h"
#include "penstock_bench/relay_options.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace penstock::bench {

/// Trials of one kind: done until as many as wanted were undisturbed, or the last attempt; then the
/// least disturbed count. `Trial` has an Interference `interference` and a std::string
/// `disturbance`, "" if it was undisturbed.
template <typename Trial>
class LeastDisturbed {
  public:
    /// `wanted`: 1 or more.
    explicit LeastDisturbed(std::uint64_t wanted) : wanted_(wanted) {}

    [[nodiscard]] bool wants_more() const noexcept {
        return undisturbed_ < wanted_ && tried_ < wanted_ * (1 + kRepeatsPerTrial);
    }
    void add(Trial trial) {
        ++tried_;
        undisturbed_ += trial.disturbance.empty() ? 1 : 0;
        const auto place = std::upper_bound(
            trials_.begin(), trials_.end(), trial, [](const Trial& a, const Trial& b) {
                return is_less(a.interference, b.interference);
            });
        trials_.insert(place, std::move(trial));
        if (trials_.size() > wanted_) {
            trials_.pop_back();
        }
    }

    /// Those that count, the least disturbed first.
    [[nodiscard]] const std::vector<Trial>& trials() const noexcept { return trials_; }
    [[nodiscard]] std::uint32_t count() const noexcept {
        return static_cast<std::uint32_t>(trials_.size());
    }
    /// Those that do not: disturbed, and done again.
    [[nodiscard]] std::uint32_t repeated() const noexcept {
        return static_cast<std::uint32_t>(tried_ - trials_.size());
    }
    /// Of the most disturbed trial that counts; "" if none was.
    [[nodiscard]] std::string disturbance() const {
        const auto worst = std::find_if(trials_.rbegin(), trials_.rend(), [](const Trial& trial) {
            return !trial.disturbance.empty();
        });
        return worst == trials_.rend() ? "" : worst->disturbance;
    }

  private:
    std::uint64_t wanted_;
    std::uint64_t tried_ = 0;
    std::uint64_t undisturbed_ = 0;
    std::vector<Trial> trials_;
};

}  // namespace penstock::bench
