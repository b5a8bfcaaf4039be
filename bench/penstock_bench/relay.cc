// What comes through the relay from another process or machine: generator, wire, relay, wire, sink.
#include "base/options.h"
#include "data_server/drop_reason_texts.h"
#include "penstock_bench/arguments.h"
#include "penstock_bench/commands.h"
#include "penstock_bench/cpus.h"
#include "penstock_bench/environment.h"
#include "penstock_bench/relay_options.h"
#include "penstock_bench/relay_point.h"
#include "penstock_bench/report.h"
#include "penstock_bench/run_command.h"
#include "penstock_bench/sweep.h"
#include "penstock_bench/sweep_points.h"
#include "penstock_bench/trust.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace penstock::bench {
namespace {

using std::chrono::milliseconds;

constexpr const char* kProgram = "penstock-bench relay";
/// Short trials: where generator and relay keep every CPU busy, Linux interrupts one or the other
/// some hundred times a second, and what it interrupted is repeated.
constexpr TrialPlan kTrials{
    .trials = 15, .trial_time = milliseconds{20}, .warm_up = milliseconds{200}};
constexpr double kPerCent = 100;
constexpr double kMillion = 1e6;

struct Sweep {
    std::vector<SweepPoint> points;
    std::vector<std::string> ports;
    std::vector<std::string> peer_ports;
    SearchGoal goal;
    unsigned generator_cpu = 0;
    RelayOptions relay{kTrials};
    Output output;
};

/// As written on the command line.
struct Words {
    SweepWords sweep{.consumers = "1,64", .payloads = "22,1316", .workers = "1", .histories = "on"};
    std::string loss = "0";
    std::string precision = "1%";
};

void declare(Options& options, Words& words, Sweep& sweep) {
    options.text("consumers", words.sweep.consumers, "N,N,...", "copies of a packet");
    options.text("payload", words.sweep.payloads, "N,N,...", "UDP payload bytes of a packet");
    options.text("workers", words.sweep.workers, "N,N,...", "workers of the relay");
    options.text(
        "history", words.sweep.histories, "on|off|on,off", "keep packets for who joins later");
    options.text("loss", words.loss, "0|SHARE%", "that a rate may have: 0 for NDR, 0.5% for PDR");
    options.text("precision", words.precision, "SHARE%", "of the rate, at which the search ends");
    options.texts("port",
                  sweep.ports,
                  "DEVARGS",
                  "DPDK port of the relay; twice: for content, for copies (default: net_memif)");
    options.texts("peer-port",
                  sweep.peer_ports,
                  "DEVARGS",
                  "of generator and sink, at the other end of each --port's wire");
    sweep.relay.add_to(options);
    sweep.output.add_to(options);
}

Result<void> check_ports(const Sweep& sweep) {
    constexpr std::size_t kMost = 2;
    if (sweep.ports.size() != sweep.peer_ports.size() || sweep.ports.size() > kMost) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("{} of --port and {} of --peer-port: give one or two of each, "
                                 "the ends of the same wires in the same order",
                                 sweep.ports.size(),
                                 sweep.peer_ports.size())};
    }
    return {};
}

Result<void> fill(const Words& words, Sweep& sweep) {
    auto points = parse_points(words.sweep, {.consumers_min = 1, .payload_bytes_min = 1});
    const auto loss = parse_share("loss", words.loss, 0, 0.5);
    const auto precision = parse_share("precision", words.precision, 0.0001, 0.5);
    for (const Error* error : {points ? nullptr : &points.error(),
                               loss ? nullptr : &loss.error(),
                               precision ? nullptr : &precision.error()}) {
        if (error != nullptr) {
            return *error;
        }
    }
    sweep.points = std::move(points).value();
    sweep.goal = {.loss_share = *loss, .precision_share = *precision};
    if (auto checked = check_ports(sweep); !checked) {
        return checked;
    }
    if (auto checked = sweep.relay.check(most_workers(sweep.points)); !checked) {
        return checked;
    }
    const auto cpu = choose_generator_cpu(sweep.relay.worker_cpus());
    if (!cpu) {
        return cpu.error();
    }
    sweep.generator_cpu = *cpu;
    return sweep.output.open();
}

std::vector<RelayPlan> plans_of(const Sweep& sweep) {
    std::vector<RelayPlan> plans;
    for (const SweepPoint& point : sweep.points) {
        RelayPlan plan;
        plan.ports = sweep.ports;
        plan.peer_ports = sweep.peer_ports;
        plan.rig = sweep.relay.rig(point.workers, point.history);
        plan.rig.consumers = point.consumers;
        plan.payload_bytes = point.payload_bytes;
        plan.history = point.history;
        plan.goal = sweep.goal;
        plan.generator_cpu = sweep.generator_cpu;
        plan.trials = sweep.relay.trials();
        plans.push_back(std::move(plan));
    }
    return plans;
}

Fields fields_of(const LostBy& lost) {
    Fields fields;
    const auto add = [&fields](std::string_view name, std::uint64_t copies) {
        if (copies > 0) {
            fields.push_back({std::string(name), copies});
        }
    };
    add("generator", lost.generator);
    add("late", lost.late);
    add("before_relay", lost.before_relay);
    for (std::size_t reason = 0; reason < lost.drops.size(); ++reason) {
        add(kDropReasonTexts[reason].name, lost.drops[reason]);
    }
    add("after_relay", lost.after_relay);
    return fields;
}

/// A rate is the relay's own only if the relay, and neither end of its wires, could do no more.
std::string distrust_of(const RelayPlan& plan, const RelayPoint& point) {
    std::string why = distrust(TrustFacts{.disturbance = point.disturbance.text(),
                                          .copies = 0,
                                          .tx_queue_full = 0,
                                          .idle_share = 0,
                                          .governor = governor_of(plan.rig.worker_cpus)});
    if (point.packets_per_second <= 0) {
        add_reason(why, "every rate that was offered lost more than allowed");
    } else if (point.lossy_packets_per_second <= 0) {
        add_reason(why, "the generator is the bottleneck: nothing was lost at the most it offered");
    } else if (point.idle_share > kIdleShareMax) {
        add_reason(why,
                   fmt::format("the wire or its peer is the bottleneck: the workers were idle "
                               "{:.0f} % of the time",
                               kPerCent * point.idle_share));
    }
    return why;
}

Fields row_of(const RelayPlan& plan, const RelayPoint& point) {
    return {{"consumers", std::uint64_t{plan.rig.consumers}},
            {"payload_bytes", std::uint64_t{plan.payload_bytes}},
            {"workers", std::uint64_t{plan.rig.worker_cpus.size()}},
            {"history", plan.history},
            {"loss_goal_share", plan.goal.loss_share},
            {"rate_packets_per_second", point.packets_per_second},
            {"offered_copies_per_second", point.offered_copies_per_second},
            {"received_copies_per_second", point.received_copies_per_second},
            {"loss_share", point.loss_share},
            {"lossy_packets_per_second", point.lossy_packets_per_second},
            {"lost_by", fields_of(point.lost_by)},
            {"max_copies_per_second",
             Fields{{"median", point.max_copies_per_second.median},
                    {"min", point.max_copies_per_second.min},
                    {"max", point.max_copies_per_second.max},
                    {"trials", plan.trials.trials}}},
            {"trials", std::uint64_t{point.trials}},
            {"repeated", std::uint64_t{point.repeated}},
            {"idle_share", point.idle_share}};
}

std::string text_of(const RelayPlan& plan, const RelayPoint& point, const std::string& why) {
    std::string lost;
    for (const Field& field : fields_of(point.lost_by)) {
        lost += fmt::format(
            "{}{} {}", lost.empty() ? "" : ", ", std::get<std::uint64_t>(field.value), field.key);
    }
    return fmt::format(
        "{} consumers, {} bytes, {} worker(s), history {}, loss up to {:.3g} %\n"
        "  at most    {:8.3f} Mcopies/s received ({:.3f} .. {:.3f}) when all the wire takes is "
        "offered\n"
        "  loss-free  {:8.3f} Mcopies/s offered, {:.3f} received, {:.3g} % lost; {:.3f} "
        "Mpackets/s; "
        "workers idle {:.0f} %\n"
        "  above it   {:8.3f} Mpackets/s lost copies: {}\n"
        "  {} trials, {} of them repeated\n{}",
        plan.rig.consumers,
        plan.payload_bytes,
        plan.rig.worker_cpus.size(),
        plan.history ? "on" : "off",
        kPerCent * plan.goal.loss_share,
        point.max_copies_per_second.median / kMillion,
        point.max_copies_per_second.min / kMillion,
        point.max_copies_per_second.max / kMillion,
        point.offered_copies_per_second / kMillion,
        point.received_copies_per_second / kMillion,
        kPerCent * point.loss_share,
        point.packets_per_second / kMillion,
        kPerCent * point.idle_share,
        point.lossy_packets_per_second / kMillion,
        lost.empty() ? "none" : lost,
        point.trials,
        point.repeated,
        why.empty() ? "" : "  not to be trusted: " + why + '\n');
}

constexpr SweepSteps<RelayPlan, RelayPoint> kSteps{.benchmark = "relay",
                                                   .headings = "",
                                                   .ends_with_ports = true,
                                                   .measure = measure_relay,
                                                   .distrust = distrust_of,
                                                   .row = row_of,
                                                   .text = text_of};

}  // namespace

int run_relay(int argc, const char* const* argv) {
    Words words;
    Sweep sweep;
    Options options(kProgram, "what comes through the relay, with a stated loss");
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
