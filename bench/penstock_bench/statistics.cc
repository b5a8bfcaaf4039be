#include "penstock_bench/statistics.h"

#include <algorithm>
#include <cstddef>

namespace penstock::bench {

Spread spread_of(std::vector<double> trials) {
    if (trials.empty()) {
        return {};
    }
    std::sort(trials.begin(), trials.end());
    const std::size_t upper = trials.size() / 2;
    const std::size_t lower = (trials.size() - 1) / 2;
    return {
        .median = (trials[lower] + trials[upper]) / 2, .min = trials.front(), .max = trials.back()};
}

double idle_share(std::uint64_t busy_cycles, std::uint64_t cycles) noexcept {
    return 1 - static_cast<double>(busy_cycles) / std::max(static_cast<double>(cycles), 1.0);
}

}  // namespace penstock::bench
