#pragma once

#include <penstock/result.h>

#include <cstdint>
#include <string>
#include <vector>

namespace penstock::bench {

/// What a sweep goes through, as written on the command line: lists "N,N,...".
struct SweepWords {
    std::string consumers;
    std::string payloads;
    std::string workers = "1";
    std::string histories = "on";  // "on", "off" or both
};

/// The least that a sub-command can take.
struct SweepLimits {
    std::uint64_t consumers_min = 1;
    std::uint64_t payload_bytes_min = 1;
};

/// One point of a sweep.
struct SweepPoint {
    bool history = true;
    std::uint64_t workers = 1;
    std::uint32_t payload_bytes = 0;
    std::uint32_t consumers = 0;
};

/// A point for every combination; consumers change from point to point, then payloads, workers and
/// histories. Errors: invalid_argument, naming the option. Pure.
Result<std::vector<SweepPoint>> parse_points(const SweepWords& words, const SweepLimits& limits);

/// The most workers of any point. Pure.
[[nodiscard]] std::uint64_t most_workers(const std::vector<SweepPoint>& points);

}  // namespace penstock::bench
