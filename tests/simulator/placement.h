#pragma once

#include "simulator/placers.h"

#include <cstddef>
#include <cstdint>

namespace penstock::simulator {

/// Streams come in bursts to data servers of one size, and everybody but the clairvoyant sees
/// figures up to 100 ms old.
struct PlacementPlan {
    std::size_t servers = 100;
    double streams_per_server = 8;  // at a time, on average; they take 0.3 of it
    double largest_to_least = 20;   // streams' sizes; few are large; 1: all of one size
    double lifetime_s = 300;        // of a stream, on average
    double burst_gap_s = 20;        // between bursts, on average
    double growth_s = 1.5;          // a quarter of a stream's consumers join at once, the last then
    double duration_s = 600;        // the second half is measured
    std::uint64_t seed = 1;
};

/// Of the busiest data server's utilisation, divided by the mean of all, every 100 ms.
struct PlacementQuality {
    double mean = 0;
    double p99 = 0;
    double most = 0;
    std::uint64_t placed = 0;
    std::uint64_t refused = 0;  // nobody was eligible
};

/// The same streams for every policy: they depend on plan.seed alone.
[[nodiscard]] PlacementQuality measure_placement(Policy policy, const PlacementPlan& plan);

}  // namespace penstock::simulator
