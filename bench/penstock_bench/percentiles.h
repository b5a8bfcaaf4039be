#pragma once

#include "penstock_bench/histogram.h"
#include "penstock_bench/report.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace penstock::bench {

/// Nanoseconds.
struct Percentiles {
    double p50 = 0;
    double p90 = 0;
    double p99 = 0;
    double p999 = 0;
    double max = 0;
};

/// Of a histogram of TSC cycles. Pure.
[[nodiscard]] Percentiles percentiles_of(const Histogram& cycles, std::uint64_t tsc_hz);

/// As microseconds, for a report. Pure.
[[nodiscard]] Fields fields_of(const Percentiles& percentiles);
/// The same for people: a line under percentile_heading(). Pure.
[[nodiscard]] std::string line_of(std::string_view name, const Percentiles& percentiles);
[[nodiscard]] std::string percentile_heading();

}  // namespace penstock::bench
