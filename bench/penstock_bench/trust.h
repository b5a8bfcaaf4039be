#pragma once

#include <cstdint>
#include <optional>
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

/// The same of latencies under an open loop, below the maximum rate: workers are idle at times.
struct OpenLoopFacts {
    std::string disturbance;  // as TrustFacts
    std::string governor;
    std::uint64_t lost_copies = 0;
    double late_share = 0;       // of packets, sent later than kOnTime
    double idle_share = 0;       // of the workers
    std::optional<double> load;  // share of the maximum rate that was offered, if it was asked for
};

/// Why the figure cannot be trusted, in words; "" if it can. Pure.
[[nodiscard]] std::string distrust(const TrustFacts& facts);
[[nodiscard]] std::string distrust(const OpenLoopFacts& facts);

/// Adds one more reason to what distrust() said. Pure.
void add_reason(std::string& why, const std::string& reason);

}  // namespace penstock::bench
