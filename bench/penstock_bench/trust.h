#pragma once

#include <cstdint>
#include <string>

namespace penstock::bench {

/// What decides whether a figure is the relay's own.
struct TrustFacts {
    std::string disturbance;  // of trials that count although disturbed; "" if none
    std::uint64_t copies = 0;
    std::uint64_t tx_queue_full = 0;  // of them
    double idle_share = 0;            // of the workers
    std::string governor;             // governor_of()
};

/// Workers that are idle for more than this wait for their source.
inline constexpr double kIdleShareMax = 0.05;

/// Why the figure cannot be trusted, in words; "" if it can. Pure.
[[nodiscard]] std::string distrust(const TrustFacts& facts);

}  // namespace penstock::bench
