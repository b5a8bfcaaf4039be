#pragma once

#include <cstdint>
#include <vector>

namespace penstock::bench {

/// Several trials of one figure.
struct Spread {
    double median = 0;
    double min = 0;
    double max = 0;
};

/// Of an even number of trials the median is the mean of the middle two; of none, all is 0. Pure.
[[nodiscard]] Spread spread_of(std::vector<double> trials);

/// Of `cycles`, the share that was not busy: 0..1; 1 if there were none. Pure.
[[nodiscard]] double idle_share(std::uint64_t busy_cycles, std::uint64_t cycles) noexcept;

}  // namespace penstock::bench
