#include "base/options.h"
#include "simulator/placement_report.h"
#include "simulator/simulation.h"
#include "wire/ticket.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <string>
#include <vector>

namespace {

using namespace penstock;
using namespace penstock::simulator;

constexpr const char* kProgram = "penstock-simulate";
constexpr std::size_t kTraceLines = 60;

struct Arguments {
    std::uint64_t seed = 0;  // 0: many
    std::uint64_t first = 1;
    std::uint64_t seeds = 1'000;
    bool trace = false;
    bool only_presence_fails = false;
    std::size_t flaw = 0;
    bool placement = false;
    std::uint64_t servers = 100;
    std::uint64_t seconds = 600;
    std::uint64_t trials = 30;
    std::string json;
};

Plan plan_of(const Arguments& arguments) {
    Plan plan;
    plan.only_presence_fails = arguments.only_presence_fails;
    plan.flaws.presence.forgets_reports = arguments.flaw == 1;
    plan.flaws.data_server.obeys_any_epoch = arguments.flaw == 2;
    plan.flaws.presence.says_once = arguments.flaw == 3;
    return plan;
}

void print_failure(const Arguments& arguments, const Outcome& outcome) {
    Plan plan = plan_of(arguments);
    plan.trace_lines = arguments.trace ? 1'000'000 : kTraceLines;
    const Outcome again = simulate(outcome.seed, plan);
    for (const std::string& line : again.trace) {
        fmt::print("{}\n", line);
    }
    const std::chrono::duration<double> at = outcome.violation->at.time_since_epoch();
    fmt::print("seed {}: {} is broken at {:.6f} s: {}\n  {}\n  again: {} --seed {} --trace\n",
               outcome.seed,
               outcome.violation->invariant,
               at.count(),
               outcome.violation->text,
               outcome.cast,
               kProgram,
               outcome.seed);
}

double percentile(std::vector<double>& values, double share) {
    std::ranges::sort(values);
    return values.empty()
               ? 0
               : values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

int run_many(const Arguments& arguments) {
    const auto begin = std::chrono::steady_clock::now();
    const Plan plan = plan_of(arguments);
    std::vector<double> recovered;
    std::vector<double> drained;
    std::vector<double> stopped;
    std::uint64_t failures = 0;
    for (std::uint64_t seed = arguments.first; seed < arguments.first + arguments.seeds; ++seed) {
        const Outcome outcome = simulate(seed, plan);
        if (outcome.violation) {
            if (++failures == 1) {
                print_failure(arguments, outcome);
            } else {
                fmt::print("seed {}: {} {}\n",
                           seed,
                           outcome.violation->invariant,
                           outcome.violation->text);
            }
        }
        recovered.push_back(std::chrono::duration<double>(outcome.recovered_after).count());
        if (outcome.drained_after > nanoseconds(0)) {
            drained.push_back(std::chrono::duration<double>(outcome.drained_after).count());
        }
        stopped.push_back(std::chrono::duration<double>(outcome.stopped_after).count());
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    fmt::print(
        "{} seeds, {} failed, {:.1f} s; receives again after p50 {:.2f} p99 {:.2f} most {:.2f} s; "
        "{} drained after p50 {:.2f} p99 {:.2f} most {:.2f} s; "
        "stopped after p50 {:.2f} p99 {:.2f} most {:.2f} s\n",
        arguments.seeds,
        failures,
        took.count(),
        percentile(recovered, 0.5),
        percentile(recovered, 0.99),
        percentile(recovered, 1),
        drained.size(),
        percentile(drained, 0.5),
        percentile(drained, 0.99),
        percentile(drained, 1),
        percentile(stopped, 0.5),
        percentile(stopped, 0.99),
        percentile(stopped, 1));
    return failures == 0 ? 0 : 1;
}

int run(int argc, const char* const* argv) {
    Arguments arguments;
    Options options(kProgram, "runs the presence core among simulated peers and faults");
    options.number("seed", arguments.seed, 0, UINT64_MAX, "run this one alone; 0: --seeds many");
    options.number("seeds", arguments.seeds, 1, 1'000'000'000, "how many to run");
    options.number("first", arguments.first, 1, UINT64_MAX / 2, "the first of them");
    options.flag("trace", arguments.trace, "print all that happened, not only the last of it");
    options.flag("only-presence-fails",
                 arguments.only_presence_fails,
                 "only presence servers fail, and no consumer may miss anything");
    options.choice("flaw",
                   arguments.flaw,
                   {"none", "forgets-reports", "obeys-any-epoch", "says-once"},
                   "what is wrong on purpose, to see that it is found");
    options.flag("placement",
                 arguments.placement,
                 "report instead how evenly streams are spread, by ours and by other policies");
    options.number("placement-servers",
                   arguments.servers,
                   1,
                   10'000,
                   "data servers in that report; of 100 it has more kinds of streams");
    options.number(
        "placement-seconds", arguments.seconds, 60, 86'400, "simulated time of each trial in it");
    options.number("placement-trials",
                   arguments.trials,
                   1,
                   1'000,
                   "trials in it, each with streams of its own");
    options.text(
        "json", arguments.json, "FILE", "a file for that report's figures; none: not written");
    const Result<Options::Outcome> outcome = options.parse(argc, argv);
    if (!outcome) {
        return fail(kProgram, outcome.error());
    }
    if (*outcome == Options::Outcome::exit) {
        return 0;
    }
    if (!initialise_cryptography()) {
        return fail(kProgram, {ErrorCode::system, "libsodium could not be initialised"});
    }
    if (arguments.placement) {
        const Result<void> reported =
            report_placement({.servers = arguments.servers,
                              .trials = arguments.trials,
                              .duration_s = static_cast<double>(arguments.seconds),
                              .seed = arguments.first,
                              .json = arguments.json});
        return reported ? 0 : fail(kProgram, reported.error());
    }
    if (arguments.seed != 0) {
        arguments.first = arguments.seed;
        arguments.seeds = 1;
    }
    return run_many(arguments);
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(argc, argv);
    } catch (const std::exception& error) {  // out of memory
        return fail(kProgram, {ErrorCode::system, error.what()});
    }
}
