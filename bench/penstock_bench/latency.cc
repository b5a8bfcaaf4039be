// What the relay adds to a packet's way: from when its packet was due at the port, and from when it
// was there, to its first and last copy, under an open loop.
#include "base/options.h"
#include "penstock_bench/child.h"
#include "penstock_bench/commands.h"
#include "penstock_bench/environment.h"
#include "penstock_bench/latency_point.h"
#include "penstock_bench/open_loop_sweep.h"
#include "penstock_bench/report.h"
#include "penstock_bench/run_command.h"
#include "penstock_bench/stamped_content.h"
#include "penstock_bench/sweep.h"
#include "penstock_bench/sweep_points.h"
#include "penstock_bench/trust.h"

#include <fmt/format.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace penstock::bench {
namespace {

using std::chrono::milliseconds;

constexpr const char* kProgram = "penstock-bench latency";
/// Short trials: where generator and relay keep every CPU busy, Linux interrupts one or the other
/// some hundred times a second, and what it interrupted is repeated.
constexpr TrialPlan kTrials{
    .trials = 50, .trial_time = milliseconds{10}, .warm_up = milliseconds{200}};

struct Sweep : OpenLoopSweep {
    Sweep() : OpenLoopSweep(kTrials, 0) {}
};

void declare(Options& options, SweepWords& words, Sweep& sweep) {
    options.text("consumers", words.consumers, "N,N,...", "copies of a packet");
    options.text("payload", words.payloads, "N,N,...", "UDP payload bytes of a packet");
    options.text("history", words.histories, "on|off|on,off", "keep packets for who joins later");
    options.real("load", sweep.load, 0.001, 1.0, "share of the maximum rate that is offered");
    options.number("rate",
                   sweep.packets_per_second,
                   0,
                   1'000'000'000,
                   "packets a second in place of --load; 0: --load decides");
    sweep.relay.add_to(options);
    sweep.output.add_to(options);
}

Result<void> fill(const SweepWords& words, Sweep& sweep) {
    return sweep.fill(words, {.consumers_min = 1, .payload_bytes_min = sizeof(Stamp)});
}

std::vector<LatencyPlan> plans_of(const Sweep& sweep) {
    std::vector<LatencyPlan> plans;
    for (const SweepPoint& point : sweep.points) {
        auto plan = sweep.plan_of<LatencyPlan>(point);
        plan.history = point.history;
        plans.push_back(std::move(plan));
    }
    return plans;
}

Result<LatencyPoint> measure(const LatencyPlan& plan) {
    return in_child<LatencyPoint>(patience_for(plan.trials),
                                  [&plan] { return measure_latency(plan); });
}

std::string distrust_of(const LatencyPlan& plan, const LatencyPoint& point) {
    OpenLoopFacts facts{.disturbance = point.disturbance.text(),
                        .governor = governor_of(plan.rig.worker_cpus),
                        .lost_copies = point.lost_copies,
                        .late_share = point.late_share,
                        .idle_share = point.idle_share,
                        .load = std::nullopt};
    if (plan.packets_per_second == 0) {
        facts.load = plan.load;
    }
    return distrust(facts);
}

Fields row_of(const LatencyPlan& plan, const LatencyPoint& point) {
    return {{"consumers", std::uint64_t{plan.rig.consumers}},
            {"payload_bytes", std::uint64_t{plan.payload_bytes}},
            {"history", plan.history},
            {"max_packets_per_second", point.max_packets_per_second},
            {"rate_packets_per_second", point.packets_per_second},
            {"load", point.packets_per_second / point.max_packets_per_second},
            {"first_us", fields_of(point.first)},
            {"last_us", fields_of(point.last)},
            {"added_us", fields_of(point.added)},
            {"skew_us", fields_of(point.skew)},
            {"samples", point.samples},
            {"lost_copies", point.lost_copies},
            {"late_share", point.late_share},
            {"idle_share", point.idle_share},
            {"trials", std::uint64_t{point.trials}},
            {"repeated", std::uint64_t{point.repeated}}};
}

std::string text_of(const LatencyPlan& plan, const LatencyPoint& point, const std::string& why) {
    constexpr double kPerCent = 100;
    return fmt::format(
               "{} consumers, {} bytes, history {}: {:.0f} packets/s, {:.0f} % of the most\n",
               plan.rig.consumers,
               plan.payload_bytes,
               plan.history ? "on" : "off",
               point.packets_per_second,
               kPerCent * point.packets_per_second / point.max_packets_per_second) +
           percentile_heading() + line_of("first copy", point.first) +
           line_of("last copy", point.last) + line_of("added", point.added) +
           line_of("skew", point.skew) +
           fmt::format(
               "  first and last copy: from when their packet was due; added: last copy, from "
               "when\n"
               "  its packet was sent, without the {:.1f} % sent more than 1 us late\n"
               "  {} packets in {} trial(s), {} repeated; worker idle {:.0f} %\n",
               kPerCent * point.late_share,
               point.samples,
               point.trials,
               point.repeated,
               kPerCent * point.idle_share) +
           (why.empty() ? "" : "  not to be trusted: " + why + '\n');
}

constexpr SweepSteps<LatencyPlan, LatencyPoint> kSteps{.benchmark = "latency",
                                                       .headings = "",
                                                       .ends_with_ports = false,
                                                       .measure = measure,
                                                       .distrust = distrust_of,
                                                       .row = row_of,
                                                       .text = text_of};

}  // namespace

int run_latency(int argc, const char* const* argv) {
    SweepWords words{.consumers = "64", .payloads = "22,1316", .workers = "1", .histories = "on"};
    Sweep sweep;
    Options options(kProgram, "what the relay adds to a packet's way");
    declare(options, words, sweep);
    return run_command(
        kProgram,
        options,
        argc,
        argv,
        [&] { return fill(words, sweep); },
        [&] {
            return run_sweep(kSteps, plans_of(sweep), sweep.relay.worker_cpus(), sweep.output);
        });
}

}  // namespace penstock::bench
