// What it costs presence to choose a data server.
#include "presence/least_busy.h"

#include "micro/surroundings.h"

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace penstock::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr const char* kLowest = "ds-lowest";

/// Data servers of any load, some recently handed out, some without a young report; one is the
/// right answer.
std::vector<presence::ServerLoad> candidates(std::int64_t count) {
    std::mt19937 random(1);  // the same ones in every run
    std::uniform_real_distribution<double> utilisation(0.1, 1.0);
    std::vector<presence::ServerLoad> servers;
    for (std::int64_t i = 0; i < count; ++i) {
        presence::ServerLoad server;
        server.name = fmt::format("ds-{:05}", i);
        server.utilisation = utilisation(random);
        server.bottleneck = "tx queue 0";
        server.report_age = milliseconds{i % 16 == 3 ? 400 : 50};
        if (i % 8 == 5) {
            server.handed_out_ago = seconds{2};
            server.utilisation = 0.01;
        }
        servers.push_back(server);
    }
    presence::ServerLoad& lowest = servers[servers.size() / 2];
    lowest = {};
    lowest.name = kLowest;
    lowest.utilisation = 0.05;
    lowest.report_age = milliseconds{50};
    return servers;
}

void run(benchmark::State& state, Surroundings& surroundings) {
    const std::vector<presence::ServerLoad> servers = candidates(state.range(0));
    const presence::PlacementRules rules;
    presence::Decision decision;
    while (state.KeepRunning()) {
        decision = presence::least_busy(servers, rules);
        benchmark::DoNotOptimize(decision);
    }
    state.SetItemsProcessed(state.iterations() * state.range(0));
    if (decision.chosen != kLowest || decision.candidates.size() != servers.size()) {
        surroundings.fail(
            state,
            fmt::format("{} was chosen among {}", decision.chosen, decision.candidates.size()));
    }
}

}  // namespace

void register_least_busy(Surroundings& surroundings) {
    benchmark::RegisterBenchmark(
        "least_busy", [&surroundings](benchmark::State& state) { run(state, surroundings); })
        ->ArgName("candidates")
        ->Arg(10)
        ->Arg(1'000)
        ->Arg(10'000);
}

}  // namespace penstock::bench
