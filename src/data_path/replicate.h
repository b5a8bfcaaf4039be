#pragma once

#include "data_path/active_streams.h"
#include "data_path/burst.h"
#include "data_path/counters.h"
#include "data_path/mailbox.h"
#include "data_path/packet_copy.h"
#include "data_path/stream.h"
#include "data_path/tx.h"
#include "data_path/worker_config.h"

#include <rte_prefetch.h>

#include <algorithm>
#include <bit>
#include <cstdint>

namespace penstock {

/// What one stream may take of a turn: 2 to 6 us of one core (the most with flows that fit in no
/// cache), so that streams with many consumers delay the others, and RX, no longer than that.
inline constexpr PacketCount kQuantumCopies = 256;
/// What all streams may take of one turn with packets as they come in, and as much again with those
/// that wait in rings, so that neither keeps the other from its turn. Then RX is polled again.
inline constexpr PacketCount kTurnCopies = 1024;
inline constexpr std::uint32_t kCatchUpFlowsPerQuantum = 8;
inline constexpr PacketCount kCatchUpCopiesPerFlow = 32;
/// History is sent this many times faster than it came in.
inline constexpr std::uint32_t kCatchUpSpeed = 4;
/// No pause of the publisher holds a history up for longer: about 0.1 s.
inline constexpr Ticks kCatchUpPauseMax = 1U << 12U;

/// Reads the rings and makes one copy per consumer. A reader that can stop anywhere: a packet's
/// fan-out goes in quanta, and the rings may move on between them.
/// Thread: the worker's own.
class Replicate {
  public:
    Replicate(const WorkerConfig& config, WorkerCounters& counters, Tx& tx) noexcept;

    /// Fetches what a small fan-out will read. The first line of `stream` is there.
    static void prefetch(const Stream& stream) noexcept {
        if (stream.live_ports == 0) {
            return;
        }
        // Those of many fetch themselves, one line after the other. Without a loop: for streams of
        // few consumers it would be a good part of what is not their copies'.
        constexpr std::uint32_t kPerLine = kCacheLineBytes / sizeof(FlowHeaders);
        const FlowHeaders* headers = stream.first_headers;
        rte_prefetch0(headers);
        if (stream.live > kPerLine) {
            rte_prefetch0(headers + kPerLine);
        }
        if (stream.live > 2 * kPerLine) [[unlikely]] {
            rte_prefetch0(headers + 2 * kPerLine);
            rte_prefetch0(headers + 3 * kPerLine);
        }
    }
    /// Sends what comes in to all its consumers, packet by packet, as long as none has to wait in
    /// the ring (see Stream::at_once) and the copies have room in this turn; of a stream that keeps
    /// history, stores it. Without history, a single consumer gets it in the mbuf it came in.
    /// Owns:    takes those packets.
    /// Returns: how many of the first ones that were.
    std::size_t send_at_once(ContentBurst content, Ticks now) noexcept;
    /// `stream` has, or may have, something to send.
    void activate(Stream& stream) noexcept {
        stream.at_once = false;  // until the turn that finds nothing left to do
        active_.append(stream);
    }

    /// Where what rings let go is gathered, until the end of to_consumers().
    [[nodiscard]] FreedPackets& freed() noexcept { return freed_; }
    /// One turn: every active stream at most a quantum, all together about kTurnCopies; of each,
    /// its helpers are given what they have yet to get before its own copies are made.
    /// Returns: copies due, whether they could be made or not, and packets given.
    PacketCount to_consumers(Ticks now) noexcept;
    /// Whether a ring was more than half full of packets not yet sent when it was last served.
    [[nodiscard]] bool is_behind() const noexcept { return behind_; }

    /// The flow gets its history, then every packet; without history every packet from the next one
    /// whose fan-out has not passed its port.
    void add_flow(const AddFlow& command, Ticks now, std::uint64_t tsc_hz) noexcept;
    static void grow_flows(const GrowFlows& command) noexcept;
    void remove_flow(const RemoveFlow& command) noexcept;
    void update_flow(const UpdateFlow& command) noexcept;
    void feed_share(const FeedShare& command) noexcept;
    void stop_share(const StopShare& command) noexcept;
    /// No more fan-out, no more feeding of shares; gives back what it holds.
    void stop(Stream& stream) noexcept;

    /// Brings the counters of a flow, or of a stream, up to date.
    static void publish(const Stream& stream, FlowRecord& flow) noexcept;
    static void publish(Stream& stream) noexcept;

  private:
    PacketCount serve_live(Stream& stream) noexcept;
    [[nodiscard]] static bool has_more(const Stream& stream) noexcept;
    PacketCount serve_catching_up(Stream& stream, Ticks now) noexcept;
    PacketCount catch_up(Stream& stream, FlowRecord& flow, Ticks now) noexcept;
    void skip_evicted(Stream& stream) noexcept;
    void skip_evicted(Stream& stream, FlowRecord& flow) noexcept;
    /// Fans a packet out from where the cursor stands. Returns: copies due, at most `copies_max`;
    /// `cursor.groups_done` is `stream.port_count` if all flows have been served.
    PacketCount fan_out(Stream& stream,
                        const Slot& slot,
                        FanoutCursor& cursor,
                        PacketCount copies_max) noexcept;
    [[nodiscard]] CopyShape shape_of(const Slot& slot, std::uint8_t port) const noexcept;
    [[nodiscard]] CopySource source_of(const Stream& stream, std::uint8_t port) const noexcept {
        return {.common = common_[port], .udp_port = to_network(stream.udp_port)};
    }
    /// Copies of one packet, at most `run.copies` of them, to flows whose headers lie side by side;
    /// none, with DropReason::no_copy_mbuf, if there are no mbufs. Returns: copies due.
    std::uint32_t copy(const Slot& slot,
                       std::uint8_t port,
                       const FlowHeaders* headers,
                       CopyRun run) noexcept;
    std::size_t pass(Stream& stream, ContentBurst content) noexcept;
    /// Whether it could, and has. Owns: takes the packet if so.
    [[nodiscard]] bool send_in_one(Stream& stream, const Slot& slot) noexcept;
    void send_to_all(Stream& stream, const Slot& slot) noexcept;
    static void find_live_ports(Stream& stream) noexcept;
    static void settle(Stream& stream) noexcept;
    void promote(Stream& stream, FlowRecord& flow) noexcept;

    const WorkerConfig& config_;
    WorkerCounters& counters_;
    Tx& tx_;
    std::array<CommonHeaders, kPortsMax> common_;  // of each port
    ActiveStreams active_;
    FreedPackets freed_;
    bool behind_ = false;
    PacketCount made_ = 0;  // in this turn
};

}  // namespace penstock
