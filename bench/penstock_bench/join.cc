// Joins a second at a data server, and requests a second at presence, of clients in closed loops.
#include "base/options.h"
#include "base/tls_options.h"
#include "client/session_socket.h"
#include "data_server/config.h"
#include "penstock_bench/commands.h"
#include "penstock_bench/disturbance.h"
#include "penstock_bench/environment.h"
#include "penstock_bench/join_clients.h"
#include "penstock_bench/progress.h"
#include "penstock_bench/report.h"
#include "penstock_bench/run_command.h"
#include "penstock_bench/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace penstock::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr const char* kProgram = "penstock-bench join";
constexpr double kPerCent = 100;

struct Setting {
    JoinPlan plan;
    std::vector<std::string> binds;
    std::uint64_t trials = 5;
    nanoseconds trial_time = milliseconds{100};
    nanoseconds pause = milliseconds{2'000};
    bool quick = false;
    Output output;
};

/// One kind of work in all trials.
struct Work {
    std::vector<double> per_second;
    std::uint64_t unanswered = 0;
    Histogram took_ns;

    void add(const JoinCounts& counts) {
        per_second.push_back(static_cast<double>(counts.done) / counts.seconds);
        unanswered += counts.unanswered;
        took_ns.add(counts.nanoseconds);
    }
};

void declare(Options& options, Setting& setting) {
    options.texts("presence",
                  setting.plan.presence,
                  "HOST:PORT",
                  "a presence server with a data server (127.0.0.1:7400 if none is named)");
    add_caller_tls_options(options, setting.plan.tls);
    options.flag("insecure", setting.plan.insecure, "allow a plaintext connection beyond loopback");
    options.number("clients", setting.plan.clients, 1, 500, "that ask and join at the same time");
    options.texts("bind",
                  setting.binds,
                  "ADDRESS",
                  "where joins come from; several share them out (default: any)");
    options.number("trials", setting.trials, 1, 1'000, "of each kind");
    options.duration("trial-time",
                     setting.trial_time,
                     milliseconds{10},
                     std::chrono::minutes{1},
                     "of one trial");
    options.duration("pause",
                     setting.pause,
                     nanoseconds{0},
                     std::chrono::minutes{1},
                     "between trials, in which the data server's rate limits recover");
    options.flag("quick", setting.quick, "1 trial of at most 100ms");
    setting.output.add_to(options);
}

Result<void> fill(Setting& setting) {
    if (setting.plan.presence.empty()) {
        setting.plan.presence = {"127.0.0.1:7400"};
    }
    if (setting.binds.empty()) {
        setting.binds = {""};
    }
    for (const std::string& bind : setting.binds) {
        const auto address = parse_bind_address(bind);
        if (!address) {
            return address.error();
        }
        setting.plan.sources.push_back(*address);
    }
    if (setting.quick) {
        setting.trials = 1;
        setting.trial_time = std::min<nanoseconds>(setting.trial_time, milliseconds{100});
    }
    return setting.output.open();
}

Fields rate_of(const Work& work) {
    const Spread spread = spread_of(work.per_second);
    return {{"median", spread.median},
            {"min", spread.min},
            {"max", spread.max},
            {"trials", std::uint64_t{work.per_second.size()}}};
}

Fields took_of(const Work& work) {
    const auto at = [&work](double share) {
        return static_cast<double>(work.took_ns.percentile(share)) / 1'000;
    };
    return {
        {"p50", at(0.5)}, {"p90", at(0.9)}, {"p99", at(0.99)}, {"p999", at(0.999)}, {"max", at(1)}};
}

std::string distrust_of(const Work& joins) {
    return joins.unanswered == 0
               ? ""
               : fmt::format(
                     "{} JOINs were not answered: the data server's limits of JOINs a "
                     "second, in all or of one source, are the bottleneck; shorten "
                     "--trial-time, lengthen --pause, or name more sources in --bind",
                     joins.unanswered);
}

std::string line_of(const char* name, const Work& work) {
    const Spread spread = spread_of(work.per_second);
    const auto at = [&work](double share) {
        return static_cast<double>(work.took_ns.percentile(share)) / 1'000;
    };
    return fmt::format(
        "{:<10} {:9.0f} a second ({:.0f} .. {:.0f})   took p50 {:.0f} us, p99 {:.0f} "
        "us, max {:.0f} us",
        name,
        spread.median,
        spread.min,
        spread.max,
        at(0.5),
        at(0.99),
        at(1));
}

Result<void> run(const Setting& setting) {
    const std::string stat_before = read_proc_stat();
    const std::set<unsigned> cpus = usable_cpus();
    Report report{
        .benchmark = "join", .environment = environment_of({cpus.begin(), cpus.end()}), .rows = {}};
    report.environment.drivers = "none: kernel sockets";
    report.environment.nics = "those of the routes to presence and data server";
    setting.output.say(text_of(report.environment));
    auto clients = JoinClients::open(setting.plan);
    if (!clients) {
        return std::move(clients).error();
    }
    Work requests;
    Work joins;
    const Progress progress(setting.trials);
    for (std::uint64_t i = 0; i < setting.trials; ++i) {
        progress.show(i, "requests and joins");
        if (i > 0) {
            std::this_thread::sleep_for(setting.pause);
        }
        requests.add((*clients)->request(setting.trial_time));
        joins.add((*clients)->join(setting.trial_time));
    }
    progress.clear();
    const std::string why = distrust_of(joins);
    report.rows.push_back({{"clients", setting.plan.clients},
                           {"sources", std::uint64_t{setting.plan.sources.size()}},
                           {"joins_per_second", rate_of(joins)},
                           {"join_us", took_of(joins)},
                           {"unanswered_joins", joins.unanswered},
                           {"requests_per_second", rate_of(requests)},
                           {"request_us", took_of(requests)},
                           {"trusted", why.empty()},
                           {"why", why}});
    report.environment.steal_share = steal_share(stat_before, read_proc_stat());
    setting.output.say(line_of("joins", joins));
    setting.output.say(line_of("requests", requests));
    setting.output.say(fmt::format("{}steal      {:.2f} % of all CPU time",
                                   why.empty() ? "" : "           not to be trusted: " + why + '\n',
                                   kPerCent * report.environment.steal_share));
    return setting.output.write(report);
}

}  // namespace

int run_join(int argc, const char* const* argv) {
    Setting setting;
    Options options(kProgram, "how many joins and requests a second");
    declare(options, setting);
    return run_command(
        kProgram, options, argc, argv, [&] { return fill(setting); }, [&] { return run(setting); });
}

}  // namespace penstock::bench
