#pragma once

#include "data_path/drop_reasons.h"
#include "penstock_bench/fixed_text.h"
#include "penstock_bench/relay_options.h"
#include "penstock_bench/statistics.h"

#include <penstock/result.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace penstock::bench {

/// In place of devargs: an InstantSource.
inline constexpr std::string_view kInstantSource = "instant";

/// One point of the sweep and how it is measured.
struct ReplicatePlan {
    // devargs; "": net_pcap, playing a capture of our own; kInstantSource
    std::string source;
    std::string sink;  // devargs; "": net_null; the same as `source`: one port for both
    std::uint32_t payload_bytes = 1316;
    bool history = true;
    RigOptions rig;  // but for its ports
    TrialPlan trials;
};

/// Of a packet: each starts with its number.
inline constexpr std::uint32_t kPayloadBytesMin = 8;

using DropCounts = std::array<std::uint64_t, kDropReasonCount>;

/// What was measured. Travels through a pipe as it is.
struct ReplicatePoint {
    Spread copies_per_second;         // taken by the sink
    Spread cycles_per_copy;           // TSC cycles of all workers, whatever they did meanwhile
    Spread packets_per_second;        // of content, into the rings
    std::uint32_t trials = 0;         // that counted
    std::uint32_t repeated = 0;       // that were disturbed, and done again
    double idle_share = 0;            // of the workers' turns, by time
    std::uint64_t copies = 0;         // made in all trials, repeated ones included
    DropCounts drops{};               // in the same time
    std::uint64_t copies_in_all = 0;  // taken by the sink from the workers' start to their end
    FixedText<160> disturbance;  // of trials that count although disturbed; "" if there are none
    FixedText<200> drivers;      // of source and sink
    FixedText<200> nics;         // of those that are NICs
};

/// Sets the relay up, measures, takes it down and proves that no packet and no mbuf is missing.
/// DPDK is started: once per process. Errors: one line with what, why, what to do. Thread: main.
Result<ReplicatePoint> measure_replicate(const ReplicatePlan& plan);

}  // namespace penstock::bench
