#pragma once

#include "penstock_bench/relay_options.h"

#include <penstock/result.h>

#include <chrono>
#include <functional>

namespace penstock::bench {

/// The median of `plan.trials` closed loops of `plan.trial_time` each, after one to warm up.
/// `closed_loop` takes its duration and returns its rate. Errors: unavailable, if that is 0.
Result<double> maximum_rate(const TrialPlan& plan,
                            const std::function<double(std::chrono::nanoseconds)>& closed_loop);

}  // namespace penstock::bench
