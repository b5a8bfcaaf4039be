#pragma once

#include "penstock_bench/fixed_text.h"
#include "penstock_bench/percentiles.h"
#include "penstock_bench/relay_options.h"

#include <penstock/result.h>

#include <cstdint>

namespace penstock::bench {

/// One point: an open-loop source of one stream, whose wire is a ring, and a driver that drops the
/// copies.
struct LatencyPlan {
    RigOptions rig;  // but for its ports
    std::uint32_t payload_bytes = 1316;
    bool history = true;
    double load = 0.5;              // share of the maximum rate
    double packets_per_second = 0;  // in place of that; 0: `load` decides
    unsigned generator_cpu = 0;
    TrialPlan trials;
};

/// What was measured. Travels through a pipe as it is.
struct LatencyPoint {
    double max_packets_per_second = 0;  // that the same ports reach without loss
    double packets_per_second = 0;      // offered
    Percentiles first;                  // copy handed to TX, from when its packet was due
    Percentiles last;                   // copy
    Percentiles added;                  // the same from when it was sent, if that was on time
    Percentiles skew;                   // last minus first, of each packet
    std::uint64_t samples = 0;          // packets of which every copy came
    std::uint64_t lost_copies = 0;      // of all packets that were due
    double late_share = 0;              // of packets, sent later than kOnTime
    std::uint32_t trials = 0;           // that counted
    std::uint32_t repeated = 0;         // that were disturbed, and done again
    double idle_share = 0;              // of the worker's time, at this rate
    FixedText<160> disturbance;         // of trials that count although disturbed
    FixedText<200> drivers;
    FixedText<200> nics;
};

/// Sets the relay up behind a ring, finds its maximum rate in a closed loop, then plays an open
/// loop at its share of that; takes everything down and proves that nothing is missing.
/// DPDK is started: once per process. Errors: one line with what, why, what to do. Thread: main.
Result<LatencyPoint> measure_latency(const LatencyPlan& plan);

}  // namespace penstock::bench
