#pragma once

#include "penstock_bench/disturbance.h"
#include "penstock_bench/environment.h"
#include "penstock_bench/progress.h"
#include "penstock_bench/report.h"

#include <penstock/result.h>

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

namespace penstock::bench {

/// What a sub-command does at each point of its sweep. `Plan` has `rig.consumers` and
/// `payload_bytes`; `Point` has `drivers` and `nics`, FixedText.
template <typename Plan, typename Point>
struct SweepSteps {
    std::string_view benchmark;  // as the report is to name it
    std::string_view headings;   // of a table, of which `text` makes lines; "": it makes paragraphs
    bool ends_with_ports;        // whether the last lines name them: they were the user's choice

    Result<Point> (*measure)(const Plan& plan);
    /// Why the figures cannot be trusted; "" if they can.
    std::string (*distrust)(const Plan& plan, const Point& point);
    /// For the report, which adds whether it is trusted.
    Fields (*row)(const Plan& plan, const Point& point);
    /// For people.
    std::string (*text)(const Plan& plan, const Point& point, const std::string& why);
};

/// The lines that end what a sweep says.
[[nodiscard]] std::string end_of_sweep(const Environment& environment, bool ends_with_ports);

/// Measures all points in turn, tells how far it is, says of each what was found, and writes the
/// report. `worker_cpus`: at least one.
/// Errors: of the first point that cannot be measured, or of the output.
template <typename Plan, typename Point>
Result<void> run_sweep(const SweepSteps<Plan, Point>& steps,
                       const std::vector<Plan>& plans,
                       const std::vector<unsigned>& worker_cpus,
                       const Output& output) {
    const std::string stat_before = read_proc_stat();
    Report report{.benchmark = std::string(steps.benchmark),
                  .environment = environment_of(worker_cpus),
                  .rows = {}};
    output.say(text_of(report.environment));
    if (!steps.headings.empty()) {
        output.say(std::string(steps.headings));
    }
    const Progress progress(plans.size());
    for (const Plan& plan : plans) {
        progress.show(
            report.rows.size(),
            fmt::format("{} consumers, {} bytes", plan.rig.consumers, plan.payload_bytes));
        const Result<Point> point = steps.measure(plan);
        progress.clear();
        if (!point) {
            return point.error();
        }
        report.environment.drivers = point->drivers.text();
        report.environment.nics = point->nics.empty() ? "none: virtual ports" : point->nics.text();
        const std::string why = steps.distrust(plan, *point);
        report.rows.push_back(steps.row(plan, *point));
        report.rows.back().push_back({"trusted", why.empty()});
        report.rows.back().push_back({"why", why});
        output.say(steps.text(plan, *point, why));
    }
    report.environment.steal_share = steal_share(stat_before, read_proc_stat());
    if (!steps.headings.empty()) {
        output.say("");
    }
    output.say(end_of_sweep(report.environment, steps.ends_with_ports));
    return output.write(report);
}

}  // namespace penstock::bench
