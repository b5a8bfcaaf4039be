#include "penstock_bench/percentiles.h"

#include <fmt/format.h>

namespace penstock::bench {
namespace {

constexpr double kNanosecondsPerSecond = 1e9;
constexpr double kNanosecondsPerMicrosecond = 1'000;

double us(double nanoseconds) { return nanoseconds / kNanosecondsPerMicrosecond; }

}  // namespace

Percentiles percentiles_of(const Histogram& cycles, std::uint64_t tsc_hz) {
    const double scale = kNanosecondsPerSecond / static_cast<double>(tsc_hz);
    const auto at = [&](double share) {
        return scale * static_cast<double>(cycles.percentile(share));
    };
    return {.p50 = at(0.5), .p90 = at(0.9), .p99 = at(0.99), .p999 = at(0.999), .max = at(1)};
}

Fields fields_of(const Percentiles& percentiles) {
    return {{"p50", us(percentiles.p50)},
            {"p90", us(percentiles.p90)},
            {"p99", us(percentiles.p99)},
            {"p999", us(percentiles.p999)},
            {"max", us(percentiles.max)}};
}

std::string line_of(std::string_view name, const Percentiles& percentiles) {
    return fmt::format("  {:<12} {:9.2f} {:9.2f} {:9.2f} {:9.2f} {:9.2f}\n",
                       name,
                       us(percentiles.p50),
                       us(percentiles.p90),
                       us(percentiles.p99),
                       us(percentiles.p999),
                       us(percentiles.max));
}

std::string percentile_heading() {
    return fmt::format("  {:<12} {:>9} {:>9} {:>9} {:>9} {:>9}\n",
                       "microseconds",
                       "p50",
                       "p90",
                       "p99",
                       "p99.9",
                       "max");
}

}  // namespace penstock::bench
