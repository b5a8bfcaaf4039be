#pragma once

#include "data_path/drop_reasons.h"
#include "penstock_bench/fixed_text.h"
#include "penstock_bench/rate_search.h"
#include "penstock_bench/relay_options.h"
#include "penstock_bench/statistics.h"

#include <penstock/result.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace penstock::bench {

/// One point: the relay in one process, generator and sink in another, wires between them.
struct RelayPlan {
    std::vector<std::string> ports;       // of the relay: one, or for content and for copies
    std::vector<std::string> peer_ports;  // at the other end of the wires, in the same order
    RigOptions rig;                       // but for its ports
    std::uint32_t payload_bytes = 1316;
    bool history = true;
    SearchGoal goal;
    unsigned generator_cpu = 0;
    TrialPlan trials;  // of the most that comes through; the search takes as many as it needs
};

/// Where copies were lost, each in copies.
struct LostBy {
    std::uint64_t generator = 0;     // their packet was to be sent and the port full
    std::uint64_t late = 0;          // not lost, but behind: came when nothing was sent any more
    std::uint64_t before_relay = 0;  // their packet left the generator and did not come in
    std::array<std::uint64_t, kDropReasonCount> drops{};  // of the relay; packets as their copies
    std::uint64_t after_relay = 0;                        // taken by its port and not received
};

/// What was measured. Travels through a pipe as it is.
struct RelayPoint {
    Spread max_copies_per_second;   // received meanwhile, when all that the wire takes is offered
    double packets_per_second = 0;  // the highest rate within the goal; 0: none
    double offered_copies_per_second = 0;
    double received_copies_per_second = 0;
    double loss_share = 0;                // at that rate
    double lossy_packets_per_second = 0;  // the lowest rate beyond the goal; 0: none
    LostBy lost_by;                       // at that one
    double idle_share = 0;                // of the workers, at the rate found
    std::uint32_t trials = 0;             // of the search
    std::uint32_t repeated = 0;           // of them, because they lost or were disturbed
    FixedText<160> disturbance;           // of the trial that decided; "" if none
    FixedText<200> drivers;               // of the relay's ports
    FixedText<200> nics;
};

/// Starts both processes, measures, stops the relay and has it prove that nothing is missing.
/// Errors: one line with what, why, what to do. Thread: main; DPDK must not run in this process.
Result<RelayPoint> measure_relay(const RelayPlan& plan);

}  // namespace penstock::bench
