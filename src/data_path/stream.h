#pragma once

#include "base/net_address.h"
#include "data_path/burst.h"
#include "data_path/counters.h"
#include "data_path/flow_group.h"
#include "data_path/stream_ring.h"

#include <penstock/ids.h>

#include <array>
#include <cstdint>

namespace penstock {

/// How far the fan-out of a stream has come: the packet, and who of its live flows has had it.
struct FanoutCursor {
    Sequence sequence = 0;    // the packet in fan-out, or the next one
    std::uint32_t index = 0;  // flows of `port`'s group that have had it: the first ones
    std::uint8_t port = 0;    // groups of lower ports have had it whole
    bool suspended = false;   // between two quanta: some flows have had it, some not
    // While suspended: the packet, with a reference of its own, so that eviction from the ring does
    // not take it from the flows that have yet to get it.
    Slot packet{};
};

/// One stream on one data server: a UDP port of its address. Made by control (stream_memory), which
/// gives it to the workers by OpenStream and has it back when CloseStream has been applied by all.
struct alignas(kCacheLineBytes) Stream {
    // Written: control, before OpenStream. Read: every worker.
    StreamId id;
    std::uint16_t udp_port = 0;
    std::uint8_t owner = 0;       // index of the worker that stores and replicates it
    std::uint8_t port_count = 0;  // groups in use

    // Owner worker only.
    alignas(kCacheLineBytes) StreamRing ring;
    Endpoint publisher;  // unspecified: nobody may send content
    FlowId publisher_flow;
    FanoutCursor cursor;
    std::uint64_t fanned_packets = 0;  // that every live flow has had
    std::uint64_t fanned_bytes = 0;    // their payload
    std::uint64_t skipped_packets =
        0;                          // that every live flow has missed: DropReason::fanout_overrun
    std::uint32_t live = 0;         // over all groups
    std::uint32_t catching_up = 0;  // over all groups
    bool active = false;            // in replicate's list of streams with work
    Stream* next_active = nullptr;
    Stream* next_owned = nullptr;  // in the worker's list of its own streams
    std::array<FlowGroup, kPortsMax> groups;

    // Written: owner worker. Read: control.
    alignas(kCacheLineBytes) StreamCounters counters;
};

}  // namespace penstock
