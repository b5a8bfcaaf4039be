#include "penstock_bench/rate_search.h"

#include <algorithm>

namespace penstock::bench {

RateSearch::RateSearch(double rate_max, double first, const SearchGoal& goal)
    : rate_max_(rate_max),
      goal_(goal),
      upper_(rate_max),
      rate_(std::clamp(first, goal.precision_share * rate_max, rate_max)) {}

std::optional<double> RateSearch::next() const noexcept {
    return is_done() ? std::nullopt : std::optional(rate_);
}

void RateSearch::record(double loss_share, bool disturbed) noexcept {
    ++trials_;
    if (loss_share <= goal_.loss_share) {
        lower_ = rate_;
        move_on();
        return;
    }
    if (disturbed && disturbed_ < kDisturbedMax) {
        ++disturbed_;
        ++repeated_;
        return;
    }
    ++losses_;
    if (losses_ < kLossesThatCount) {
        ++repeated_;
        return;
    }
    upper_ = rate_;
    upper_is_lossy_ = true;
    move_on();
}

std::optional<double> RateSearch::lossy() const noexcept {
    return upper_is_lossy_ ? std::optional(upper_) : std::nullopt;
}

/// Without a lossy rate yet, the most itself comes next: nothing says it would lose.
void RateSearch::move_on() noexcept {
    losses_ = 0;
    disturbed_ = 0;
    rate_ = upper_is_lossy_ ? (lower_ + upper_) / 2 : rate_max_;
}

bool RateSearch::is_done() const noexcept {
    return trials_ >= kTrialsMax || upper_ - lower_ <= goal_.precision_share * upper_ ||
           upper_ <= goal_.precision_share * goal_.precision_share * rate_max_;
}

}  // namespace penstock::bench
