#pragma once

#include "base/clock.h"

#include <penstock/ids.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace penstock::presence {

struct DataServer;

/// What a data server carried, on average over some seconds, and what each of its streams took of
/// that: by the packets received and copied for it.
struct LoadWindow {
    // The last complete one.
    std::optional<double> utilisation;
    std::vector<std::pair<StreamId, double>> shares;  // by stream

    // The one that is on.
    std::optional<MonotonicTime> begun_at;
    double sum = 0;  // of `reports` utilisations
    std::size_t reports = 0;
    std::vector<std::pair<StreamId, std::uint64_t>> packets_at_begin;  // by stream
};

/// The data server's newest load report was taken.
void take_window(DataServer& server, MonotonicTime now);

}  // namespace penstock::presence
