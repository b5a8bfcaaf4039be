// Copies a second of the relay itself, a point for every combination of consumers, payload, workers
// and history.
#include "base/options.h"
#include "data_server/drop_reason_texts.h"
#include "penstock_bench/arguments.h"
#include "penstock_bench/child.h"
#include "penstock_bench/commands.h"
#include "penstock_bench/disturbance.h"
#include "penstock_bench/environment.h"
#include "penstock_bench/progress.h"
#include "penstock_bench/replicate_point.h"
#include "penstock_bench/report.h"
#include "penstock_bench/run_command.h"
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
    std::vector<std::uint64_t> consumers;
    std::vector<std::uint64_t> payloads;
    std::vector<std::uint64_t> workers;
    std::vector<bool> histories;
    std::uint64_t streams = 1;
    std::string source;
    std::string sink;
    RelayOptions relay{kTrials};
    Output output;
};

/// Lists as written on the command line.
struct Lists {
    std::string consumers = "1,8,64,512";
    std::string payloads = "22,1316";
    std::string workers = "1";
    std::string histories = "on";
};

void declare(Options& options, Lists& lists, Sweep& sweep) {
    options.text(
        "consumers", lists.consumers, "N,N,...", "consumers of each stream: copies a packet");
    options.text("payload", lists.payloads, "N,N,...", "UDP payload bytes of a packet");
    options.text("workers",
                 lists.workers,
                 "N,N,...",
                 "own streams in turn; past 256 consumers, all share one");
    options.text("history", lists.histories, "on|off|on,off", "keep packets for who joins later");
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

Result<void> fill(const Lists& lists, Sweep& sweep) {
    auto consumers = parse_numbers("consumers", lists.consumers, 1, 1'000'000);
    auto payloads = parse_numbers("payload", lists.payloads, 8, 1'472);
    auto workers = parse_numbers("workers", lists.workers, 1, 64);
    auto histories = parse_histories(lists.histories);
    for (const Error* error : {consumers ? nullptr : &consumers.error(),
                               payloads ? nullptr : &payloads.error(),
                               workers ? nullptr : &workers.error(),
                               histories ? nullptr : &histories.error()}) {
        if (error != nullptr) {
            return *error;
        }
    }
    sweep.consumers = std::move(consumers).value();
    sweep.payloads = std::move(payloads).value();
    sweep.workers = std::move(workers).value();
    sweep.histories = std::move(histories).value();
    const std::uint64_t most = *std::max_element(sweep.workers.begin(), sweep.workers.end());
    if (auto checked = sweep.relay.check(most); !checked) {
        return checked;
    }
    return sweep.output.open();
}

std::vector<ReplicatePlan> points_of(const Sweep& sweep) {
    std::vector<ReplicatePlan> points;
    for (const bool history : sweep.histories) {
        for (const std::uint64_t workers : sweep.workers) {
            for (const std::uint64_t payload : sweep.payloads) {
                for (const std::uint64_t consumers : sweep.consumers) {
                    ReplicatePlan point;
                    point.source = sweep.source;
                    point.sink = sweep.sink;
                    point.payload_bytes = static_cast<std::uint32_t>(payload);
                    point.history = history;
                    point.rig = sweep.relay.rig(workers, history);
                    point.rig.streams = static_cast<std::uint32_t>(sweep.streams);
                    point.rig.consumers = static_cast<std::uint32_t>(consumers);
                    point.trials = sweep.relay.trials();
                    points.push_back(std::move(point));
                }
            }
        }
    }
    return points;
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

Fields row_of(const ReplicatePlan& plan, const ReplicatePoint& point, const std::string& why) {
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
            {"idle_share", point.idle_share},
            {"trusted", why.empty()},
            {"why", why}};
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

Result<void> run(const Sweep& sweep) {
    const std::string stat_before = read_proc_stat();
    Report report{.benchmark = "replicate",
                  .environment = environment_of(sweep.relay.worker_cpus()),
                  .rows = {}};
    sweep.output.say(text_of(report.environment));
    sweep.output.say(kHeadings);
    const std::vector<ReplicatePlan> points = points_of(sweep);
    const Progress progress(points.size());
    for (const ReplicatePlan& plan : points) {
        progress.show(
            report.rows.size(),
            fmt::format("{} consumers, {} bytes", plan.rig.consumers, plan.payload_bytes));
        const auto point = in_child<ReplicatePoint>(patience_for(plan.trials),
                                                    [&plan] { return measure_replicate(plan); });
        progress.clear();
        if (!point) {
            return point.error();
        }
        report.environment.drivers = point->drivers.text();
        report.environment.nics = point->nics.empty() ? "none: virtual ports" : point->nics.text();
        const std::string why = distrust_of(plan, *point);
        report.rows.push_back(row_of(plan, *point, why));
        sweep.output.say(line_of(plan, *point, why));
    }
    report.environment.steal_share = steal_share(stat_before, read_proc_stat());
    sweep.output.say(fmt::format("\nports     {}; NICs {}\nsteal     {:.2f} % of all CPU time",
                                 report.environment.drivers,
                                 report.environment.nics,
                                 100 * report.environment.steal_share));
    return sweep.output.write(report);
}

}  // namespace

int run_replicate(int argc, const char* const* argv) {
    Lists lists;
    Sweep sweep;
    Options options(kProgram, "how many copies a second the relay makes");
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
