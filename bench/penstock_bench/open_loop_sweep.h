#pragma once

#include "penstock_bench/cpus.h"
#include "penstock_bench/relay_options.h"
#include "penstock_bench/report.h"
#include "penstock_bench/sweep_points.h"

#include <cstdint>
#include <utility>
#include <vector>

namespace penstock::bench {

/// What a sub-command goes through that plays content in an open loop, from a CPU of its own.
struct OpenLoopSweep {
    OpenLoopSweep(const TrialPlan& trials, std::uint64_t packets_a_second)
        : packets_per_second(packets_a_second), relay(trials) {}

    std::vector<SweepPoint> points;
    double load = 0.5;
    std::uint64_t packets_per_second;
    unsigned generator_cpu = 0;
    RelayOptions relay;
    Output output;

    /// After the options have been read. Errors: of what they ask for.
    Result<void> fill(const SweepWords& words, const SweepLimits& limits) {
        auto parsed = parse_points(words, limits);
        if (!parsed) {
            return parsed.error();
        }
        points = std::move(parsed).value();
        if (auto checked = relay.check(1); !checked) {
            return checked;
        }
        const auto cpu = choose_generator_cpu(relay.worker_cpus());
        if (!cpu) {
            return cpu.error();
        }
        generator_cpu = *cpu;
        return output.open();
    }
    /// What all such plans have.
    template <typename Plan>
    [[nodiscard]] Plan plan_of(const SweepPoint& point) const {
        Plan plan;
        plan.rig = relay.rig(point.workers, point.history);
        plan.rig.consumers = point.consumers;
        plan.payload_bytes = point.payload_bytes;
        plan.load = load;
        plan.packets_per_second = static_cast<double>(packets_per_second);
        plan.generator_cpu = generator_cpu;
        plan.trials = relay.trials();
        return plan;
    }
};

}  // namespace penstock::bench
