#include "simulator/placement_report.h"

#include "base/json.h"
#include "simulator/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <numeric>
#include <string_view>
#include <vector>

namespace penstock::simulator {
namespace {

constexpr std::size_t kVariedServers = 100;

struct Scenario {
    std::string_view name;
    PlacementPlan plan;
};

std::vector<Scenario> scenarios(const PlacementReport& report) {
    std::vector<Scenario> all;
    PlacementPlan plan;
    plan.servers = report.servers;
    plan.duration_s = report.duration_s;
    all.push_back({"bursts", plan});
    if (report.servers == kVariedServers) {
        PlacementPlan varied = plan;
        varied.burst_gap_s = 2;
        all.push_back({"many small bursts", varied});
        varied = plan;
        varied.growth_s = 30;
        all.push_back({"streams grow over 30 s", varied});
        varied = plan;
        varied.streams_per_server = 3;
        all.push_back({"3 streams a data server", varied});
        varied = plan;
        varied.largest_to_least = 1;
        all.push_back({"streams of one size", varied});
    }
    return all;
}

double mean_of(const std::vector<double>& values) {
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// Half of the interval that has the mean with a probability of 0.95, roughly.
double uncertainty_of(const std::vector<double>& values) {
    const double mean = mean_of(values);
    double squares = 0;
    for (const double value : values) {
        squares += (value - mean) * (value - mean);
    }
    const auto count = static_cast<double>(values.size());
    return count < 2 ? 0 : 2 * std::sqrt(squares / (count - 1) / count);
}

struct Row {
    Policy policy = Policy::ours;
    std::vector<double> trials;   // mean peak to mean of each
    std::vector<double> to_ours;  // how much more than ours, with the same streams
    double p99 = 0;               // mean of the trials'
    double most = 0;
    std::uint64_t placed = 0;
    std::uint64_t refused = 0;
};

Row measure(Policy policy, const PlacementPlan& plan, std::uint64_t seed, std::size_t trials) {
    Row row;
    row.policy = policy;
    PlacementPlan trial = plan;
    for (std::size_t i = 0; i < trials; ++i) {
        trial.seed = seed + i;
        const PlacementQuality quality = measure_placement(policy, trial);
        row.trials.push_back(quality.mean);
        row.p99 += quality.p99 / static_cast<double>(trials);
        row.most = std::max(row.most, quality.most);
        row.placed += quality.placed;
        row.refused += quality.refused;
    }
    return row;
}

void print_row(const Scenario& scenario, const Row& row) {
    fmt::print(
        "{:>7}  {:<23} {:<28} {:>5.2f} {:>4.2f}..{:<4.2f} {:>5.2f} {:>5.2f} {:>+6.2f} ±{:<4.2f} "
        "{:>8} {:>7} {:>6}\n",
        scenario.plan.servers,
        scenario.name,
        name_of(row.policy),
        mean_of(row.trials),
        *std::ranges::min_element(row.trials),
        *std::ranges::max_element(row.trials),
        row.p99,
        row.most,
        mean_of(row.to_ours),
        uncertainty_of(row.to_ours),
        row.placed,
        row.refused,
        row.trials.size());
}

void write_row(JsonWriter& json, const Scenario& scenario, const Row& row) {
    json.begin_object()
        .member("scenario", scenario.name)
        .member("servers", scenario.plan.servers)
        .member("policy", name_of(row.policy))
        .member("trials", row.trials.size())
        .member("seconds", scenario.plan.duration_s)
        .member("peak_to_mean", mean_of(row.trials))
        .member("least", *std::ranges::min_element(row.trials))
        .member("greatest", *std::ranges::max_element(row.trials))
        .member("p99", row.p99)
        .member("most", row.most)
        .member("more_than_ours", mean_of(row.to_ours))
        .member("more_than_ours_uncertainty", uncertainty_of(row.to_ours))
        .member("placed", row.placed)
        .member("refused", row.refused)
        .end_object();
}

}  // namespace

Result<void> report_placement(const PlacementReport& report) {
    JsonWriter json;
    json.begin_array();
    fmt::print(
        "peak-to-mean utilisation: the mean of the trials, the least and the greatest of "
        "them, p99, the most,\nhow much more than ours with the same streams; figures up to "
        "100 ms old\n{:>7}  {:<23} {:<28} {:>5} {:>10} {:>5} {:>5} {:>12} {:>8} {:>7} "
        "{:>6}\n",
        "servers",
        "streams",
        "policy",
        "mean",
        "trials'",
        "p99",
        "most",
        "than ours",
        "placed",
        "refused",
        "trials");
    for (const Scenario& scenario : scenarios(report)) {
        std::vector<double> ours;
        for (std::size_t i = 0; i < kPolicies; ++i) {
            Row row = measure(static_cast<Policy>(i), scenario.plan, report.seed, report.trials);
            if (row.policy == Policy::ours) {
                ours = row.trials;
            }
            for (std::size_t trial = 0; trial < ours.size(); ++trial) {
                row.to_ours.push_back(row.trials[trial] - ours[trial]);
            }
            print_row(scenario, row);
            std::fflush(stdout);
            write_row(json, scenario, row);
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
