// What the presence core takes, with tables of any size: events a second, and bytes.
#include "micro/presence_traffic.h"
#include "micro/surroundings.h"

#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <rte_cycles.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace penstock::bench {
namespace {

/// Filling the tables takes longer than measuring: once for each size.
PresenceTraffic& traffic_of(const TrafficSize& size) {
    static std::map<std::size_t, std::unique_ptr<PresenceTraffic>> made;
    std::unique_ptr<PresenceTraffic>& traffic = made[size.streams];
    if (traffic == nullptr) {
        traffic = std::make_unique<PresenceTraffic>(size);
    }
    return *traffic;
}

void run(benchmark::State& state, Surroundings& surroundings) {
    PresenceTraffic& traffic = traffic_of({static_cast<std::size_t>(state.range(0)),
                                           static_cast<std::size_t>(state.range(1)),
                                           static_cast<std::size_t>(state.range(2))});
    const auto tsc_hz = static_cast<double>(rte_get_tsc_hz());
    const auto before = traffic.work();
    while (state.KeepRunning()) {
        state.SetIterationTime(std::chrono::duration<double>(traffic.run_slice()).count());
    }
    std::uint64_t events = 0;
    for (std::size_t kind = 0; kind < kEventWorkNames.size(); ++kind) {
        const std::uint64_t count = traffic.work()[kind].events - before[kind].events;
        const std::uint64_t cycles = traffic.work()[kind].cycles - before[kind].cycles;
        if (kind != static_cast<std::size_t>(EventWork::tick)) {
            events += count;
        }
        if (count > 0) {
            state.counters[fmt::format("ns_{}", kEventWorkNames[kind])] =
                static_cast<double>(cycles) / static_cast<double>(count) / tsc_hz * 1e9;
            state.counters[fmt::format("n_{}", kEventWorkNames[kind])] =
                static_cast<double>(count) / static_cast<double>(state.iterations());
        }
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(events));
    const CoreMemory& memory = traffic.memory();
    state.counters["bytes_server"] = memory.per_server;
    state.counters["bytes_publisher"] = memory.per_publisher;
    state.counters["bytes_open_stream"] = memory.per_open_stream;
    state.counters["bytes_consumer"] = memory.per_consumer;
    if (const std::string why = traffic.objection(); !why.empty()) {
        surroundings.fail(state, why);
    }
}

}  // namespace

void register_presence_core(Surroundings& surroundings) {
    benchmark::RegisterBenchmark(
        "presence_core", [&surroundings](benchmark::State& state) { run(state, surroundings); })
        ->ArgNames({"servers", "streams", "consumers"})
        ->Args({10, 1000, 500})
        ->Args({1'000, 100'000, 50'000})
        ->UseManualTime();
}

}  // namespace penstock::bench
