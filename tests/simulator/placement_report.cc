#include "simulator/placement_report.h"

#include "base/json.h"
#include "simulator/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>

namespace penstock::simulator {
namespace {

constexpr std::array<std::size_t, 4> kSizes{10, 100, 1'000, 10'000};
constexpr std::size_t kTrialsMost = 30;
constexpr std::size_t kTrialServers = 3'000;  // fewer trials of many data servers: they vary less

/// Means of the trials' mean and p99; the most of all.
PlacementQuality measure(Policy policy, PlacementPlan plan, std::size_t trials) {
    PlacementQuality total;
    for (std::size_t trial = 0; trial < trials; ++trial, ++plan.seed) {
        const PlacementQuality quality = measure_placement(policy, plan);
        total.mean += quality.mean / static_cast<double>(trials);
        total.p99 += quality.p99 / static_cast<double>(trials);
        total.most = std::max(total.most, quality.most);
        total.placed += quality.placed;
        total.refused += quality.refused;
    }
    return total;
}

void write_row(JsonWriter& json,
               std::size_t servers,
               std::size_t trials,
               Policy policy,
               const PlacementQuality& quality) {
    json.begin_object()
        .member("servers", servers)
        .member("policy", name_of(policy))
        .member("trials", trials)
        .member("peak_to_mean", quality.mean)
        .member("peak_to_mean_p99", quality.p99)
        .member("peak_to_mean_most", quality.most)
        .member("placed", quality.placed)
        .member("refused", quality.refused)
        .end_object();
}

}  // namespace

Result<void> report_placement(const PlacementReport& report) {
    JsonWriter json;
    json.begin_array();
    fmt::print("peak-to-mean utilisation; streams in bursts, figures up to 100 ms old\n");
    fmt::print("{:>7}  {:<33} {:>6} {:>6} {:>6} {:>8} {:>8} {:>6}\n",
               "servers",
               "policy",
               "mean",
               "p99",
               "most",
               "placed",
               "refused",
               "trials");
    for (const std::size_t servers : kSizes) {
        if (servers > report.most_servers) {
            break;
        }
        const std::size_t trials = std::clamp(kTrialServers / servers, std::size_t{1}, kTrialsMost);
        for (std::size_t i = 0; i < kPolicies; ++i) {
            const auto policy = static_cast<Policy>(i);
            PlacementPlan plan;
            plan.servers = servers;
            plan.duration_s = report.duration_s;
            plan.seed = report.seed;
            const PlacementQuality quality = measure(policy, plan, trials);
            fmt::print("{:>7}  {:<33} {:>6.2f} {:>6.2f} {:>6.2f} {:>8} {:>8} {:>6}\n",
                       servers,
                       name_of(policy),
                       quality.mean,
                       quality.p99,
                       quality.most,
                       quality.placed,
                       quality.refused,
                       trials);
            write_row(json, servers, trials, policy, quality);
        }
    }
    json.end_array();
    if (!report.json.empty()) {
        std::ofstream file(report.json);
        file << json.text() << '\n';
        file.close();
        if (!file) {
            return Error{ErrorCode::system, "the report could not be written to " + report.json};
        }
    }
    return {};
}

}  // namespace penstock::simulator
