#pragma once

#include "penstock_bench/disturbance.h"
#include "penstock_bench/environment.h"
#include "rig/relay_rig.h"

#include <penstock/result.h>

#include <functional>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace penstock::bench {

/// Starts the relay, has `measure` measure it, says in the result which ports it had (`drivers`,
/// `nics`), stops it and has it prove that nothing is missing. `worker_cpus`, `own_cpu`: as of
/// InterferenceWatch. Errors: as RelayRig's, InterferenceWatch's and those of `measure`.
template <typename Point>
Result<Point> while_running(RelayRig& rig,
                            const std::vector<unsigned>& worker_cpus,
                            std::optional<unsigned> own_cpu,
                            const std::function<Result<Point>(InterferenceWatch)>& measure) {
    if (auto started = rig.start(); !started) {
        return started.error();
    }
    auto watch = InterferenceWatch::start(worker_cpus, own_cpu);
    if (!watch) {
        return std::move(watch).error();
    }
    auto point = measure(std::move(watch).value());
    if (!point) {
        return point;
    }
    const PortNames names = names_of(rig.machine());
    point->drivers = std::string_view(names.drivers);
    point->nics = std::string_view(names.nics);
    if (auto balanced = rig.stop(); !balanced) {
        return balanced.error();
    }
    return point;
}

}  // namespace penstock::bench
