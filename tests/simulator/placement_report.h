#pragma once

#include <penstock/result.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace penstock::simulator {

struct PlacementReport {
    std::size_t most_servers = 10'000;  // of 10, 100, 1,000 and 10,000 those up to this
    double duration_s = 600;
    std::uint64_t seed = 1;
    std::string json;  // a file to write; "": none
};

/// Prints how evenly each policy spreads the same streams, as a table.
/// Errors: system: the JSON file could not be written.
Result<void> report_placement(const PlacementReport& report);

}  // namespace penstock::simulator
