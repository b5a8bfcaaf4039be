#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::simulator {

/// Who gets a stream, in the report on placement.
enum class Policy {
    ours,              // presence::least_busy() as presence calls it
    random,            // any
    round_robin,       // the next
    two_choices,       // the less busy of two at random
    no_recent_period,  // least_busy() without a recent period
    stale_figures,     // the least busy by the newest figures alone: no reservations either
};
inline constexpr std::size_t kPolicies = 6;
[[nodiscard]] std::string_view name_of(Policy policy) noexcept;

/// Streams come in bursts to data servers of one size, and presence sees figures up to 100 ms old.
struct PlacementPlan {
    std::size_t servers = 100;
    double streams_per_server = 8;  // at a time, on average; they take 0.3 of it
    double lifetime_s = 300;        // of a stream, on average
    double burst_gap_s = 20;        // between bursts, on average
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
