#include "penstock_bench/maximum_rate.h"

#include "penstock_bench/statistics.h"

#include <cstdint>
#include <utility>
#include <vector>

namespace penstock::bench {

Result<double> maximum_rate(const TrialPlan& plan,
                            const std::function<double(std::chrono::nanoseconds)>& closed_loop) {
    closed_loop(plan.warm_up);
    std::vector<double> rates;
    for (std::uint64_t i = 0; i < plan.trials; ++i) {
        rates.push_back(closed_loop(plan.trial_time));
    }
    const double median = spread_of(std::move(rates)).median;
    if (median <= 0) {
        return Error{ErrorCode::unavailable,
                     "no copy left the relay within the trial time; give more --trial-time"};
    }
    return median;
}

}  // namespace penstock::bench
