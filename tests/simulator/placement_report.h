#pragma once

#include <penstock/result.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace penstock::simulator {

struct PlacementReport {
    std::size_t servers = 100;
    std::size_t trials = 30;
    double duration_s = 600;
    std::uint64_t seed = 1;
    std::string json;  // a file to write; "": none
};

/// Prints how evenly each policy spreads the same streams, as a table; of 100 data servers also
/// with streams that come, grow or are sized in other ways.
/// Errors: system: the JSON file could not be written.
Result<void> report_placement(const PlacementReport& report);

}  // namespace penstock::simulator
