// What the relay adds to a packet's way: from when its packet was due at the port, and from when it
// was there, to its first and last copy, under an open loop.
#include "base/options.h"
#include "penstock_bench/arguments.h"
#include "penstock_bench/child.h"
#include "penstock_bench/commands.h"
#include "penstock_bench/cpus.h"
#include "penstock_bench/disturbance.h"
#include "penstock_bench/environment.h"
#include "penstock_bench/latency_point.h"
#include "penstock_bench/progress.h"
#include "penstock_bench/relay_options.h"
#include "penstock_bench/report.h"
#include "penstock_bench/run_command.h"
#include "penstock_bench/stamped_content.h"
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

struct Sweep {
    std::vector<std::uint64_t> consumers;
    std::vector<std::uint64_t> payloads;
    std::vector<bool> histories;
    double load = 0.5;
    std::uint64_t packets_per_second = 0;
    unsigned generator_cpu = 0;
    RelayOptions relay{kTrials};
    Output output;
};

/// Lists as written on the command line.
struct Lists {
    std::string consumers = "64";
    std::string payloads = "22,1316";
    std::string histories = "on";
};

void declare(Options& options, Lists& lists, Sweep& sweep) {
    options.text("consumers", lists.consumers, "N,N,...", "copies of a packet");
    options.text("payload", lists.payloads, "N,N,...", "UDP payload bytes of a packet");
    options.text("history", lists.histories, "on|off|on,off", "keep packets for who joins later");
    options.real("load", sweep.load, 0.001, 1.0, "share of the maximum rate that is offered");
    options.number("rate",
                   sweep.packets_per_second,
                   0,
                   1'000'000'000,
                   "packets a second in place of --load; 0: --load decides");
    sweep.relay.add_to(options);
    sweep.output.add_to(options);
}

Result<void> fill(const Lists& lists, Sweep& sweep) {
    auto consumers = parse_numbers("consumers", lists.consumers, 1, 1'000'000);
    auto payloads = parse_numbers("payload", lists.payloads, sizeof(Stamp), 1'472);
    auto histories = parse_histories(lists.histories);
    for (const Error* error : {consumers ? nullptr : &consumers.error(),
                               payloads ? nullptr : &payloads.error(),
                               histories ? nullptr : &histories.error()}) {
        if (error != nullptr) {
            return *error;
        }
    }
    sweep.consumers = std::move(consumers).value();
    sweep.payloads = std::move(payloads).value();
    sweep.histories = std::move(histories).value();
    if (auto checked = sweep.relay.check(1); !checked) {
        return checked;
    }
    const auto cpu = choose_generator_cpu(sweep.relay.worker_cpus());
    if (!cpu) {
        return cpu.error();
    }
    sweep.generator_cpu = *cpu;
    return sweep.output.open();
}

std::vector<LatencyPlan> points_of(const Sweep& sweep) {
    std::vector<LatencyPlan> points;
    for (const bool history : sweep.histories) {
        for (const std::uint64_t payload : sweep.payloads) {
            for (const std::uint64_t consumers : sweep.consumers) {
                LatencyPlan point;
                point.rig = sweep.relay.rig(1, history);
                point.rig.consumers = static_cast<std::uint32_t>(consumers);
                point.payload_bytes = static_cast<std::uint32_t>(payload);
                point.history = history;
                point.load = sweep.load;
                point.packets_per_second = static_cast<double>(sweep.packets_per_second);
                point.generator_cpu = sweep.generator_cpu;
                point.trials = sweep.relay.trials();
                points.push_back(std::move(point));
            }
        }
    }
    return points;
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

Fields row_of(const LatencyPlan& plan, const LatencyPoint& point, const std::string& why) {
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
            {"repeated", std::uint64_t{point.repeated}},
            {"trusted", why.empty()},
            {"why", why}};
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

Result<void> run(const Sweep& sweep) {
    const std::string stat_before = read_proc_stat();
    Report report{.benchmark = "latency",
                  .environment = environment_of(sweep.relay.worker_cpus()),
                  .rows = {}};
    sweep.output.say(text_of(report.environment));
    const std::vector<LatencyPlan> points = points_of(sweep);
    const Progress progress(points.size());
    for (const LatencyPlan& plan : points) {
        progress.show(
            report.rows.size(),
            fmt::format("{} consumers, {} bytes", plan.rig.consumers, plan.payload_bytes));
        const auto point = in_child<LatencyPoint>(patience_for(plan.trials),
                                                  [&plan] { return measure_latency(plan); });
        progress.clear();
        if (!point) {
            return point.error();
        }
        report.environment.drivers = point->drivers.text();
        report.environment.nics = "none: virtual ports";
        const std::string why = distrust_of(plan, *point);
        report.rows.push_back(row_of(plan, *point, why));
        sweep.output.say(text_of(plan, *point, why));
    }
    report.environment.steal_share = steal_share(stat_before, read_proc_stat());
    sweep.output.say(
        fmt::format("steal     {:.2f} % of all CPU time", 100 * report.environment.steal_share));
    return sweep.output.write(report);
}

}  // namespace

int run_latency(int argc, const char* const* argv) {
    Lists lists;
    Sweep sweep;
    Options options(kProgram, "what the relay adds to a packet's way");
    declare(options, lists, sweep);
    return run_command(
        kProgram,
        options,
        argc,
        argv,
        [&] { return fill(lists, sweep); },
        [&] { return run(sweep); });
}

}  // namespace penstock::bench
