// Copies a second of the relay itself, a point for every combination of consumers, payload, workers
// and history.
#include "base/options.h"
#include "penstock_bench/arguments.h"
#include "penstock_bench/child.h"
#include "penstock_bench/commands.h"
#include "penstock_bench/disturbance.h"
#include "penstock_bench/environment.h"
#include "penstock_bench/progress.h"
#include "penstock_bench/replicate_point.h"
#include "penstock_bench/report.h"
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
using std::chrono::nanoseconds;

constexpr const char* kProgram = "penstock-bench replicate";
constexpr std::uint64_t kMiB = std::uint64_t{1} << 20U;
/// Set-up, tear-down, and the installation of a million flows.
constexpr milliseconds kPatience{120'000};

struct Sweep {
    std::vector<std::uint64_t> consumers;
    std::vector<std::uint64_t> payloads;
    std::vector<std::uint64_t> workers;
    std::vector<bool> histories;
    std::vector<unsigned> worker_cpus;  // for the most workers
    ReplicatePlan plan;                 // what all points have in common
    Output output;
};

/// As written on the command line.
struct Words {
    std::string consumers = "1,8,64,512";
    std::string payloads = "22,1316";
    std::string workers = "1";
    std::string histories = "on";
    std::string worker_cpus;
    std::string copy_threshold = "auto";
    std::uint64_t streams = 1;
    std::uint64_t ring_packets = 4096;
    std::uint64_t trials = 5;
    nanoseconds trial_time = milliseconds{300};
    nanoseconds warm_up = milliseconds{200};
    std::uint64_t memory_bytes = 512 * kMiB;
    bool quick = false;
};

void declare(Options& options, Words& words, Sweep& sweep) {
    options.text(
        "consumers", words.consumers, "N,N,...", "consumers of each stream: copies a packet");
    options.text("payload", words.payloads, "N,N,...", "UDP payload bytes of a packet");
    options.text("workers", words.workers, "N,N,...", "workers that share the streams");
    options.text("history", words.histories, "on|off|on,off", "keep packets for who joins later");
    options.number("streams", words.streams, 1, 40'000, "streams, with as many consumers each");
    options.text("source",
                 sweep.plan.source,
                 "DEVARGS",
                 "DPDK port that content comes in at (default: net_pcap)");
    options.text(
        "sink", sweep.plan.sink, "DEVARGS", "DPDK port that copies leave by (default: net_null)");
    options.text(
        "worker-cpus", words.worker_cpus, "N,N,...", "one a worker (default: all but the first)");
    options.bytes(
        "memory", words.memory_bytes, 32 * kMiB, kMiB * kMiB, "of hugepages, for each point");
    options.flag("no-huge", sweep.plan.no_huge, "plain memory in place of hugepages: slower");
    options.number(
        "ring-packets", words.ring_packets, 64, 65'536, "a stream's newest packets, kept");
    options.text("copy-threshold",
                 words.copy_threshold,
                 "auto|BYTES",
                 "payloads up to this are copied, larger ones shared");
    options.number("trials", words.trials, 1, 1'000, "trials a point");
    options.duration(
        "trial-time", words.trial_time, milliseconds{10}, std::chrono::minutes{1}, "of one trial");
    options.duration(
        "warm-up", words.warm_up, nanoseconds{0}, std::chrono::minutes{1}, "before the first");
    options.flag("quick", words.quick, "at most 3 trials of 100ms, after 50ms");
    sweep.output.add_to(options);
}

Result<std::vector<bool>> parse_histories(const std::string& text) {
    if (text == "on" || text == "off") {
        return std::vector<bool>{text == "on"};
    }
    if (text == "on,off" || text == "off,on") {
        return std::vector<bool>{text == "on,off", text != "on,off"};
    }
    return Error{
        ErrorCode::invalid_argument,
        fmt::format("--history {}: wants on, off or both, for example --history on,off", text)};
}

Result<std::optional<std::uint16_t>> parse_threshold(const std::string& text) {
    if (text == "auto") {
        return std::optional<std::uint16_t>();
    }
    const auto bytes = parse_numbers("copy-threshold", text, 64, 65'535);
    if (!bytes) {
        return bytes.error();
    }
    return std::optional(static_cast<std::uint16_t>(bytes->front()));
}

Result<void> fill(const Words& words, Sweep& sweep) {
    auto consumers = parse_numbers("consumers", words.consumers, 1, 1'000'000);
    auto payloads = parse_numbers("payload", words.payloads, 8, 1'472);
    auto workers = parse_numbers("workers", words.workers, 1, 64);
    auto histories = parse_histories(words.histories);
    auto threshold = parse_threshold(words.copy_threshold);
    for (const Error* error : {consumers ? nullptr : &consumers.error(),
                               payloads ? nullptr : &payloads.error(),
                               workers ? nullptr : &workers.error(),
                               histories ? nullptr : &histories.error(),
                               threshold ? nullptr : &threshold.error()}) {
        if (error != nullptr) {
            return *error;
        }
    }
    const std::size_t workers_max = *std::max_element(workers->begin(), workers->end());
    auto cpus = choose_worker_cpus(words.worker_cpus, workers_max);
    if (!cpus) {
        return cpus.error();
    }
    sweep.consumers = std::move(consumers).value();
    sweep.payloads = std::move(payloads).value();
    sweep.workers = std::move(workers).value();
    sweep.histories = std::move(histories).value();
    sweep.worker_cpus = std::move(cpus).value();
    ReplicatePlan& plan = sweep.plan;
    plan.copy_threshold_bytes = *threshold;
    plan.streams = static_cast<std::uint32_t>(words.streams);
    plan.ring_packets = static_cast<std::uint32_t>(words.ring_packets);
    plan.memory_bytes = words.memory_bytes;
    plan.trials = words.quick ? std::min<std::uint64_t>(words.trials, 3) : words.trials;
    plan.trial_time =
        words.quick ? std::min<nanoseconds>(words.trial_time, milliseconds{100}) : words.trial_time;
    plan.warm_up =
        words.quick ? std::min<nanoseconds>(words.warm_up, milliseconds{50}) : words.warm_up;
    return sweep.output.open();
}

std::vector<ReplicatePlan> points_of(const Sweep& sweep) {
    std::vector<ReplicatePlan> points;
    for (const bool history : sweep.histories) {
        for (const std::uint64_t workers : sweep.workers) {
            for (const std::uint64_t payload : sweep.payloads) {
                for (const std::uint64_t consumers : sweep.consumers) {
                    ReplicatePlan point = sweep.plan;
                    point.history = history;
                    point.worker_cpus.assign(
                        sweep.worker_cpus.begin(),
                        sweep.worker_cpus.begin() + static_cast<std::ptrdiff_t>(workers));
                    point.payload_bytes = static_cast<std::uint32_t>(payload);
                    point.consumers = static_cast<std::uint32_t>(consumers);
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
    return distrust(
        {.disturbance = point.disturbance.text(),
         .copies = point.copies,
         .tx_queue_full = point.drops[static_cast<std::size_t>(DropReason::tx_queue_full)],
         .idle_share = point.idle_share,
         .governor = governor_of(plan.worker_cpus)});
}

double ns_per_copy(const ReplicatePoint& point) { return 1e9 / point.copies_per_second.median; }

Fields row_of(const ReplicatePlan& plan, const ReplicatePoint& point, const std::string& why) {
    return {{"consumers", std::uint64_t{plan.consumers}},
            {"payload_bytes", std::uint64_t{plan.payload_bytes}},
            {"streams", std::uint64_t{plan.streams}},
            {"workers", std::uint64_t{plan.worker_cpus.size()}},
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
        plan.consumers,
        plan.payload_bytes,
        plan.streams,
        plan.worker_cpus.size(),
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

milliseconds patience_for(const ReplicatePlan& plan) {
    const auto measuring = plan.warm_up + plan.trial_time * (plan.trials * (1 + kRepeatsPerTrial));
    return kPatience + 2 * std::chrono::ceil<milliseconds>(measuring);
}

Result<void> run(const Sweep& sweep) {
    const std::string stat_before = read_proc_stat();
    Report report{
        .benchmark = "replicate", .environment = environment_of(sweep.worker_cpus), .rows = {}};
    sweep.output.say(text_of(report.environment));
    sweep.output.say(kHeadings);
    const std::vector<ReplicatePlan> points = points_of(sweep);
    const Progress progress(points.size());
    for (const ReplicatePlan& plan : points) {
        progress.show(report.rows.size(),
                      fmt::format("{} consumers, {} bytes", plan.consumers, plan.payload_bytes));
        const auto point = in_child<ReplicatePoint>(patience_for(plan),
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
    Words words;
    Sweep sweep;
    Options options(kProgram, "how many copies a second the relay makes");
    declare(options, words, sweep);
    const auto outcome = options.parse(argc, argv);
    if (!outcome) {
        return fail(kProgram, outcome.error());
    }
    if (*outcome == Options::Outcome::exit) {
        return 0;
    }
    if (const auto filled = fill(words, sweep); !filled) {
        return fail(kProgram, filled.error());
    }
    if (const auto done = run(sweep); !done) {
        return fail(kProgram, done.error());
    }
    return 0;
}

}  // namespace penstock::bench
