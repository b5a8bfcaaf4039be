#pragma once

#include "penstock_bench/fixed_text.h"
#include "penstock_bench/percentiles.h"
#include "penstock_bench/relay_options.h"

#include <penstock/result.h>

#include <cstdint>

namespace penstock::bench {

/// One point: a small stream, of one consumer, alone and beside a large one, on one worker. Both
/// come in an open loop at one port and leave by one port each, whose driver drops the copies.
struct FairnessPlan {
    RigOptions rig;  // but for its ports; `consumers`: of the large stream
    std::uint32_t payload_bytes = 1316;
    double load = 0.5;                   // of the large stream: share of its maximum rate
    double packets_per_second = 10'000;  // of the small stream
    unsigned generator_cpu = 0;
    TrialPlan trials;
};

/// What was measured. Travels through a pipe as it is.
struct FairnessPoint {
    double max_copies_per_second = 0;     // of the large stream, by itself
    double large_packets_per_second = 0;  // offered beside the small one
    Percentiles alone;                    // the small stream's copies, from when their packet was
    Percentiles beside;                   // sent, if that was on time, to when they went to TX
    std::uint64_t samples_alone = 0;
    std::uint64_t samples_beside = 0;
    std::uint64_t lost_copies = 0;  // of both streams
    double late_share = 0;          // of the small stream's packets, sent later than kOnTime
    double idle_share = 0;          // of the worker's time, beside the large stream
    std::uint32_t trials = 0;       // of each kind, that counted
    std::uint32_t repeated = 0;     // that were disturbed, and done again
    FixedText<160> disturbance;     // of trials that count although disturbed
    FixedText<200> drivers;
    FixedText<200> nics;
};

/// Sets the relay up behind a ring, finds the large stream's maximum rate in a closed loop, then
/// plays open loops of the small stream with and without the large one, in turn; takes everything
/// down and proves that nothing is missing.
/// DPDK is started: once per process. Errors: one line with what, why, what to do. Thread: main.
Result<FairnessPoint> measure_fairness(const FairnessPlan& plan);

}  // namespace penstock::bench
