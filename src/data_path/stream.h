#pragma once

#include "base/net_address.h"
#include "data_path/burst.h"
#include "data_path/counters.h"
#include "data_path/flow_group.h"
#include "data_path/packet_headers.h"
#include "data_path/stream_ring.h"

#include <penstock/ids.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace penstock {

/// How far the fan-out of a stream has come: the packet, and who of its live flows has had it.
struct FanoutCursor {
    Sequence sequence = 0;         // the packet in fan-out, or the next one
    std::uint32_t index = 0;       // flows of the group it is in that have had it: the first ones
    std::uint8_t groups_done = 0;  // that have had it whole
    std::uint8_t first_group = 0;  // each packet's fan-out begins with another, then goes round
    bool suspended = false;        // between two quanta: some flows have had it, some not

    /// The group it is in, of `groups`; of no use once all are done.
    [[nodiscard]] std::uint8_t group(std::uint8_t groups) const noexcept {
        const auto next = static_cast<std::uint8_t>(first_group + groups_done);
        return next < groups ? next : static_cast<std::uint8_t>(next - groups);
    }
    /// Whether `group` has had the packet whole.
    [[nodiscard]] bool is_through(std::uint8_t group, std::uint8_t groups) const noexcept {
        const int place = group - first_group + (group < first_group ? groups : 0);
        return place < groups_done;
    }
    /// All have had the packet: on to the next one.
    void advance(std::uint8_t groups) noexcept {
        ++sequence;
        groups_done = 0;
        first_group = first_group + 1 < groups ? static_cast<std::uint8_t>(first_group + 1) : 0;
    }
};

/// No frame's.
inline constexpr std::uint64_t kNoPublisher = ~std::uint64_t{0};
/// An IPv4 address and a UDP port as one number, both as they lie in a frame: cheap to compare.
constexpr std::uint64_t publisher_key(std::uint32_t address, std::uint16_t udp_port) noexcept {
    return address | std::uint64_t{udp_port} << 32U;
}
/// kNoPublisher, which is no frame's, unless it is IPv4 and specified.
inline std::uint64_t publisher_key(const Endpoint& publisher) noexcept {
    if (!publisher.ip.is_v4() || publisher.port == 0) {
        return kNoPublisher;
    }
    return publisher_key(to_network(publisher.ip.v4()), to_network(publisher.port));
}

/// What has happened to a stream, as its owner counts it; StreamCounters shows it to others.
struct StreamTotals {
    std::uint64_t packets_in = 0;
    std::uint64_t bytes_in = 0;
    std::uint64_t copies = 0;
    std::uint64_t copy_bytes = 0;
    std::uint64_t dropped = 0;
};

/// Packets that went to all live flows as they came in. What that means for a stream's totals is
/// found out when somebody looks, or when the live flows change: Replicate::settle().
struct SentAtOnce {
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;  // payload
};

/// What the owner of a stream keeps of one of its shares: a cursor into its own ring, like the live
/// one. Written: control, before FeedShare, then the owner of the stream.
struct alignas(kCacheLineBytes) ShareFeed {
    Stream* next = nullptr;       // another share of the same stream
    Sequence sequence = 0;        // what it is given next, in the ring of its stream
    std::uint64_t given = 0;      // packets so far
    std::uint64_t done_seen = 0;  // ShareProgress::done when last looked at
    std::uint64_t missed = 0;     // packets evicted since the last one it was given
    std::uint8_t helper = 0;      // whose share it is: Stream::owner, without the helper's line
    bool filling = true;          // has not been given yet all that was stored before it opened
};

/// What a share tells others. Written: its helper.
struct alignas(kCacheLineBytes) ShareProgress {
    Counter done;      // packets that all its live flows have had. Read: the owner of the stream
    Counter complete;  // 1: it has what was stored before it opened. Read: control
};

/// One stream on one data server: a UDP port of its address. Made by control (stream_memory), which
/// gives it to the workers by OpenStream and has it back when CloseStream has been applied by all.
///
/// A *share* is one, too: a further part of a stream's flows, replicated by another worker, its
/// helper, from a ring of its own that the owner of the stream feeds (shares.h). What is said below
/// of an owner holds for the helper there; classify does not know shares.
struct alignas(kCacheLineBytes) Stream {
    // Written: control, before OpenStream. Read: every worker.
    FlowGroup* groups = nullptr;  // of its flows, one for each port
    std::uint16_t udp_port = 0;
    std::uint8_t owner = 0;       // index of the worker that stores and replicates it
    std::uint8_t port_count = 0;  // groups
    bool keeps_history = true;    // false: a packet goes as soon as every consumer has had it
    std::uint8_t fed_by = 0;      // of a share: who owns its stream; else `owner`

    // Owner worker only, from here on. This first line is all of it, groups included, that a packet
    // touches which is sent at once to flows of one port.
    bool active = false;   // in replicate's list of streams with work
    bool at_once = false;  // what comes in need not wait in the ring: nothing waits there, nobody
                           // catches up, no shares, one quantum of flows at most
    std::uint8_t live_ports = 0;                 // a bit for each group that has live flows
    std::uint32_t live = 0;                      // flows, over all groups
    std::uint32_t catching_up = 0;               // over all groups
    std::uint64_t publisher_v4 = kNoPublisher;   // publisher_key() of `publisher`
    const FlowHeaders* first_headers = nullptr;  // of live flows, the first ones
    SentAtOnce sent_at_once;

    alignas(kCacheLineBytes) StreamRing ring;
    FanoutCursor cursor;

    // All but for `sent_at_once`.
    alignas(kCacheLineBytes) StreamTotals totals;
    std::uint64_t fanned_packets = 0;  // that every live flow has had
    std::uint64_t fanned_bytes = 0;    // their payload
    Stream* shares = nullptr;          // those that are fed, by ShareFeed::next

    // While the cursor is suspended: its packet, with a reference of its own, so that eviction from
    // the ring does not take it from the flows that have yet to get it.
    Slot suspended{};
    Endpoint publisher;  // unspecified: nobody may send content
    FlowId publisher_flow;
    Stream* next_active = nullptr;
    std::uint64_t skipped_packets = 0;  // that every live flow missed: DropReason::fanout_overrun
    std::uint64_t missed_packets = 0;   // of a share: that all its flows missed, live or not
    Stream* next_owned = nullptr;       // in the worker's list of its own streams
    Stream* previous_owned = nullptr;   // the one before

    // Written: owner worker. Read: control.
    alignas(kCacheLineBytes) StreamCounters counters;

    // Of a share.
    ShareFeed feed;
    ShareProgress progress;

    [[nodiscard]] bool is_share() const noexcept { return fed_by != owner; }
};
static_assert(kPortsMax <= 8, "Stream::live_ports");
static_assert(offsetof(Stream, ring) == kCacheLineBytes &&
              offsetof(Stream, totals) == 2 * kCacheLineBytes);

}  // namespace penstock
