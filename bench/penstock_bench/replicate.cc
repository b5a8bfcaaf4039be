// Copies a second of the relay itself, a point for every combination of consumers, payload, workers
// and history.
#include "base/options.h"
#include "data_server/drop_reason_texts.h"
#include "penstock_bench/child.h"
#include "penstock_bench/commands.h"
#include "penstock_bench/environment.h"
#include "penstock_bench/replicate_point.h"
#include "penstock_bench/report.h"
#include "penstock_bench/run_command.h"
#include "penstock_bench/sweep.h"
#include "penstock_bench/sweep_points.h"
#include "penstock_bench/trust.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace penstock::bench {
namespace {

using std::chrono::milliseconds;

constexpr const char* kProgram = "penstock-bench replicate";
constexpr TrialPlan kTrials{
    .trials = 5, .trial_time = milliseconds{300}, .warm_up = milliseconds{200}};

struct Sweep {
    std::vector<SweepPoint> points;
    std::uint64_t streams = 1;
    std::string source;
    std::string sink;
    RelayOptions relay{kTrials};
    Output output;
};

void declare(Options& options, SweepWords& words, Sweep& sweep) {
    options.text(
        "consumers", words.consumers, "N,N,...", "consumers of each stream: copies a packet");
    options.text("payload", words.payloads, "N,N,...", "UDP payload bytes of a packet");
    options.text("workers",
                 words.workers,
                 "N,N,...",
                 "own streams in turn; past 256 consumers, all share one");
    options.text("history", words.histories, "on|off|on,off", "keep packets for who joins later");
    options.number("streams", sweep.streams, 1, 40'000, "streams, with as many consumers each");
    options.text(
        "source",
        sweep.source,
        "DEVARGS",
        "DPDK port that content comes in at, or instant: packets that cost the worker what "
        "a NIC's do (default: net_pcap)");
    options.text(
        "sink", sweep.sink, "DEVARGS", "DPDK port that copies leave by (default: net_null)");
    sweep.relay.add_to(options);
    sweep.output.add_to(options);
}

Result<void> fill(const SweepWords& words, Sweep& sweep) {
    auto points = parse_points(words, {.consumers_min = 1, .payload_bytes_min = kPayloadBytesMin});
    if (!points) {
        return points.error();
    }
    sweep.points = std::move(points).value();
    if (auto checked = sweep.relay.check(most_workers(sweep.points)); !checked) {
        return checked;
    }
    return sweep.output.open();
}

std::vector<ReplicatePlan> plans_of(const Sweep& sweep) {
    std::vector<ReplicatePlan> plans;
    for (const SweepPoint& point : sweep.points) {
        ReplicatePlan plan;
        plan.source = sweep.source;
        plan.sink = sweep.sink;
        plan.payload_bytes = point.payload_bytes;
        plan.history = point.history;
        plan.rig = sweep.relay.rig(point.workers, point.history);
        plan.rig.streams = static_cast<std::uint32_t>(sweep.streams);
        plan.rig.consumers = point.consumers;
        plan.trials = sweep.relay.trials();
        plans.push_back(std::move(plan));
    }
    return plans;
}

Result<ReplicatePoint> measure(const ReplicatePlan& plan) {
    return in_child<ReplicatePoint>(patience_for(plan.trials),
                                    [&plan] { return measure_replicate(plan); });
}

Fields drops_of(const DropCounts& drops) {
    Fields fields;
    for (std::size_t reason = 0; reason < drops.size(); ++reason) {
        if (drops[reason] > 0) {
            fields.push_back({std::string(kDropReasonTexts[reason].name), drops[reason]});
        }
    }
    return fields;
}

std::string distrust_of(const ReplicatePlan& plan, const ReplicatePoint& point) {
    return distrust(TrustFacts{
        .disturbance = point.disturbance.text(),
        .copies = point.copies,
        .tx_queue_full = point.drops[static_cast<std::size_t>(DropReason::tx_queue_full)],
        .idle_share = point.idle_share,
        .governor = governor_of(plan.rig.worker_cpus)});
}

double ns_per_copy(const ReplicatePoint& point) { return 1e9 / point.copies_per_second.median; }

Fields row_of(const ReplicatePlan& plan, const ReplicatePoint& point) {
    return {{"consumers", std::uint64_t{plan.rig.consumers}},
            {"payload_bytes", std::uint64_t{plan.payload_bytes}},
            {"streams", std::uint64_t{plan.rig.streams}},
            {"workers", std::uint64_t{plan.rig.worker_cpus.size()}},
            {"history", plan.history},
            {"copies_per_second",
             Fields{{"median", point.copies_per_second.median},
                    {"min", point.copies_per_second.min},
                    {"max", point.copies_per_second.max},
                    {"trials", std::uint64_t{point.trials}},
                    {"repeated", std::uint64_t{point.repeated}}}},
            {"cycles_per_copy", point.cycles_per_copy.median},
            {"ns_per_copy", ns_per_copy(point)},
            {"packets_per_second", point.packets_per_second.median},
            {"copies_in_all", point.copies_in_all},
            {"drops", drops_of(point.drops)},
            {"idle_share", point.idle_share}};
}

constexpr const char* kHeadings =
    "consumers payload streams workers history   Mcopies/s  (min .. max)       ns/copy  cycles  "
    "Mpackets/s  drops";

std::string line_of(const ReplicatePlan& plan,
                    const ReplicatePoint& point,
                    const std::string& why) {
    constexpr double kMillion = 1e6;
    std::string drops;
    for (const Field& field : drops_of(point.drops)) {
        drops += fmt::format(
            "{}{} {}", drops.empty() ? "" : ", ", std::get<std::uint64_t>(field.value), field.key);
    }
    return fmt::format(
        "{:9} {:7} {:7} {:7} {:>7} {:11.2f}  ({:.2f} .. {:.2f}) {:12.2f} {:7.1f} "
        "{:11.3f}  {}{}{}",
        plan.rig.consumers,
        plan.payload_bytes,
        plan.rig.streams,
        plan.rig.worker_cpus.size(),
        plan.history ? "on" : "off",
        point.copies_per_second.median / kMillion,
        point.copies_per_second.min / kMillion,
        point.copies_per_second.max / kMillion,
        ns_per_copy(point),
        point.cycles_per_copy.median,
        point.packets_per_second.median / kMillion,
        drops.empty() ? "none" : drops,
        why.empty() ? "" : "\n          not to be trusted: ",
        why);
}

constexpr SweepSteps<ReplicatePlan, ReplicatePoint> kSteps{.benchmark = "replicate",
                                                           .headings = kHeadings,
                                                           .ends_with_ports = true,
                                                           .measure = measure,
                                                           .distrust = distrust_of,
                                                           .row = row_of,
                                                           .text = line_of};

}  // namespace

int run_replicate(int argc, const char* const* argv) {
    SweepWords words{
        .consumers = "1,8,64,512", .payloads = "22,1316", .workers = "1", .histories = "on"};
    Sweep sweep;
    Options options(kProgram, "how many copies a second the relay makes");
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
