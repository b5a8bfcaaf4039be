// What a stream with many consumers adds to the latency of a stream that has one, on the same
// worker.
#include "base/options.h"
#include "penstock_bench/arguments.h"
#include "penstock_bench/child.h"
#include "penstock_bench/commands.h"
#include "penstock_bench/cpus.h"
#include "penstock_bench/disturbance.h"
#include "penstock_bench/environment.h"
#include "penstock_bench/fairness_point.h"
#include "penstock_bench/progress.h"
#include "penstock_bench/relay_options.h"
#include "penstock_bench/report.h"
#include "penstock_bench/run_command.h"
#include "penstock_bench/stamped_content.h"
#include "penstock_bench/trust.h"

#include <fmt/format.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace penstock::bench {
namespace {

using std::chrono::milliseconds;

constexpr const char* kProgram = "penstock-bench fairness";
/// Short trials, as for latency; long enough for a few packets to 100,000 consumers.
constexpr TrialPlan kTrials{
    .trials = 100, .trial_time = milliseconds{10}, .warm_up = milliseconds{200}};
constexpr double kPerCent = 100;

struct Sweep {
    std::vector<std::uint64_t> consumers;
    std::vector<std::uint64_t> payloads;
    double load = 0.5;
    std::uint64_t packets_per_second = 10'000;
    unsigned generator_cpu = 0;
    RelayOptions relay{kTrials};
    Output output;
};

/// Lists as written on the command line.
struct Lists {
    std::string consumers = "1000,100000";
    std::string payloads = "1316";
};

void declare(Options& options, Lists& lists, Sweep& sweep) {
    options.text("consumers", lists.consumers, "N,N,...", "of the large stream; the small has one");
    options.text("payload", lists.payloads, "N,N,...", "UDP payload bytes of a packet");
    options.real(
        "load", sweep.load, 0.001, 1.0, "share of its maximum rate that the large stream comes at");
    options.number(
        "rate", sweep.packets_per_second, 100, 1'000'000, "packets a second of the small stream");
    sweep.relay.add_to(options);
    sweep.output.add_to(options);
}

Result<void> fill(const Lists& lists, Sweep& sweep) {
    auto consumers = parse_numbers("consumers", lists.consumers, 2, 1'000'000);
    if (!consumers) {
        return consumers.error();
    }
    auto payloads = parse_numbers("payload", lists.payloads, sizeof(Stamp), 1'472);
    if (!payloads) {
        return payloads.error();
    }
    sweep.consumers = std::move(consumers).value();
    sweep.payloads = std::move(payloads).value();
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

std::vector<FairnessPlan> points_of(const Sweep& sweep) {
    std::vector<FairnessPlan> points;
    for (const std::uint64_t payload : sweep.payloads) {
        for (const std::uint64_t consumers : sweep.consumers) {
            FairnessPlan point;
            point.rig = sweep.relay.rig(1, true);
            point.rig.consumers = static_cast<std::uint32_t>(consumers);
            point.payload_bytes = static_cast<std::uint32_t>(payload);
            point.load = sweep.load;
            point.packets_per_second = static_cast<double>(sweep.packets_per_second);
            point.generator_cpu = sweep.generator_cpu;
            point.trials = sweep.relay.trials();
            points.push_back(std::move(point));
        }
    }
    return points;
}

std::string distrust_of(const FairnessPlan& plan, const FairnessPoint& point) {
    return distrust(OpenLoopFacts{.disturbance = point.disturbance.text(),
                                  .governor = governor_of(plan.rig.worker_cpus),
                                  .lost_copies = point.lost_copies,
                                  .late_share = point.late_share,
                                  .idle_share = point.idle_share,
                                  .load = plan.load});
}

Fields row_of(const FairnessPlan& plan, const FairnessPoint& point, const std::string& why) {
    return {{"consumers", std::uint64_t{plan.rig.consumers}},
            {"payload_bytes", std::uint64_t{plan.payload_bytes}},
            {"load", plan.load},
            {"max_copies_per_second", point.max_copies_per_second},
            {"large_packets_per_second", point.large_packets_per_second},
            {"rate_packets_per_second", plan.packets_per_second},
            {"alone_us", fields_of(point.alone)},
            {"beside_us", fields_of(point.beside)},
            {"samples_alone", point.samples_alone},
            {"samples_beside", point.samples_beside},
            {"lost_copies", point.lost_copies},
            {"late_share", point.late_share},
            {"idle_share", point.idle_share},
            {"trials", std::uint64_t{point.trials}},
            {"repeated", std::uint64_t{point.repeated}},
            {"trusted", why.empty()},
            {"why", why}};
}

std::string text_of(const FairnessPlan& plan, const FairnessPoint& point, const std::string& why) {
    return fmt::format(
               "a stream of one consumer beside one of {}, {} bytes: {:.0f} packets/s and "
               "{:.1f} packets/s, {:.0f} % of the most\n",
               plan.rig.consumers,
               plan.payload_bytes,
               plan.packets_per_second,
               point.large_packets_per_second,
               kPerCent * plan.load) +
           percentile_heading() + line_of("alone", point.alone) +
           line_of("beside it", point.beside) +
           fmt::format(
               "  of the one consumer's copy, from when its packet was sent, without the {:.1f} %\n"
               "  sent more than 1 us late; {} and {} packets in {} trial(s) each, {} repeated;\n"
               "  worker idle {:.0f} % beside the large stream\n",
               kPerCent * point.late_share,
               point.samples_alone,
               point.samples_beside,
               point.trials,
               point.repeated,
               kPerCent * point.idle_share) +
           (why.empty() ? "" : "  not to be trusted: " + why + '\n');
}

Result<void> run(const Sweep& sweep) {
    const std::string stat_before = read_proc_stat();
    Report report{.benchmark = "fairness",
                  .environment = environment_of(sweep.relay.worker_cpus()),
                  .rows = {}};
    sweep.output.say(text_of(report.environment));
    const std::vector<FairnessPlan> points = points_of(sweep);
    const Progress progress(points.size());
    for (const FairnessPlan& plan : points) {
        progress.show(
            report.rows.size(),
            fmt::format("{} consumers, {} bytes", plan.rig.consumers, plan.payload_bytes));
        const auto point = in_child<FairnessPoint>(2 * patience_for(plan.trials),
                                                   [&plan] { return measure_fairness(plan); });
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
    sweep.output.say(fmt::format("steal     {:.2f} % of all CPU time",
                                 kPerCent * report.environment.steal_share));
    return sweep.output.write(report);
}

}  // namespace

int run_fairness(int argc, const char* const* argv) {
    Lists lists;
    Sweep sweep;
    Options options(kProgram, "what a stream with many consumers adds to the latency of another");
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
