#include "penstock_bench/sweep_points.h"

#include "penstock_bench/arguments.h"
#include "penstock_bench/relay_options.h"

#include <algorithm>

namespace penstock::bench {

Result<std::vector<SweepPoint>> parse_points(const SweepWords& words, const SweepLimits& limits) {
    const auto consumers =
        parse_numbers("consumers", words.consumers, limits.consumers_min, 1'000'000);
    const auto payloads = parse_numbers("payload", words.payloads, limits.payload_bytes_min, 1'472);
    const auto workers = parse_numbers("workers", words.workers, 1, 64);
    const auto histories = parse_histories(words.histories);
    for (const Error* error : {consumers ? nullptr : &consumers.error(),
                               payloads ? nullptr : &payloads.error(),
                               workers ? nullptr : &workers.error(),
                               histories ? nullptr : &histories.error()}) {
        if (error != nullptr) {
            return *error;
        }
    }
    std::vector<SweepPoint> points;
    for (const bool history : *histories) {
        for (const std::uint64_t worker_count : *workers) {
            for (const std::uint64_t payload_bytes : *payloads) {
                for (const std::uint64_t consumer_count : *consumers) {
                    points.push_back({.history = history,
                                      .workers = worker_count,
                                      .payload_bytes = static_cast<std::uint32_t>(payload_bytes),
                                      .consumers = static_cast<std::uint32_t>(consumer_count)});
                }
            }
        }
    }
    return points;
}

std::uint64_t most_workers(const std::vector<SweepPoint>& points) {
    std::uint64_t most = 0;
    for (const SweepPoint& point : points) {
        most = std::max(most, point.workers);
    }
    return most;
}

}  // namespace penstock::bench
