// What a stream with many consumers adds to the latency of a stream that has one, on the same
// worker.
#include "base/options.h"
#include "penstock_bench/child.h"
#include "penstock_bench/commands.h"
#include "penstock_bench/environment.h"
#include "penstock_bench/fairness_point.h"
#include "penstock_bench/open_loop_sweep.h"
#include "penstock_bench/report.h"
#include "penstock_bench/run_command.h"
#include "penstock_bench/stamped_content.h"
#include "penstock_bench/sweep.h"
#include "penstock_bench/sweep_points.h"
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

struct Sweep : OpenLoopSweep {
    Sweep() : OpenLoopSweep(kTrials, 10'000) {}
};

void declare(Options& options, SweepWords& words, Sweep& sweep) {
    options.text("consumers", words.consumers, "N,N,...", "of the large stream; the small has one");
    options.text("payload", words.payloads, "N,N,...", "UDP payload bytes of a packet");
    options.real(
        "load", sweep.load, 0.001, 1.0, "share of its maximum rate that the large stream comes at");
    options.number(
        "rate", sweep.packets_per_second, 100, 1'000'000, "packets a second of the small stream");
    sweep.relay.add_to(options);
    sweep.output.add_to(options);
}

Result<void> fill(const SweepWords& words, Sweep& sweep) {
    return sweep.fill(words, {.consumers_min = 2, .payload_bytes_min = sizeof(Stamp)});
}

std::vector<FairnessPlan> plans_of(const Sweep& sweep) {
    std::vector<FairnessPlan> plans;
    for (const SweepPoint& point : sweep.points) {
        plans.push_back(sweep.plan_of<FairnessPlan>(point));
    }
    return plans;
}

Result<FairnessPoint> measure(const FairnessPlan& plan) {
    return in_child<FairnessPoint>(2 * patience_for(plan.trials),
                                   [&plan] { return measure_fairness(plan); });
}

std::string distrust_of(const FairnessPlan& plan, const FairnessPoint& point) {
    return distrust(OpenLoopFacts{.disturbance = point.disturbance.text(),
                                  .governor = governor_of(plan.rig.worker_cpus),
                                  .lost_copies = point.lost_copies,
                                  .late_share = point.late_share,
                                  .idle_share = point.idle_share,
                                  .load = plan.load});
}

Fields row_of(const FairnessPlan& plan, const FairnessPoint& point) {
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
            {"repeated", std::uint64_t{point.repeated}}};
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

constexpr SweepSteps<FairnessPlan, FairnessPoint> kSteps{.benchmark = "fairness",
                                                         .headings = "",
                                                         .ends_with_ports = false,
                                                         .measure = measure,
                                                         .distrust = distrust_of,
                                                         .row = row_of,
                                                         .text = text_of};

}  // namespace

int run_fairness(int argc, const char* const* argv) {
    SweepWords words{
        .consumers = "1000,100000", .payloads = "1316", .workers = "1", .histories = "on"};
    Sweep sweep;
    Options options(kProgram, "what a stream with many consumers adds to the latency of another");
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
