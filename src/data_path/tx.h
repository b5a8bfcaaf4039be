#pragma once

#include "data_path/burst.h"
#include "data_path/counters.h"
#include "data_path/flow_group.h"
#include "data_path/stream.h"
#include "data_path/worker_config.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace penstock {

/// Copies that lie side by side in a burst and have the same size: of one packet to neighbouring
/// live flows, or of one or several packets to a single flow. Read if some are lost.
struct CopyRun {
    Stream* stream = nullptr;    // nullptr: control's own frame
    FlowRecord* flow = nullptr;  // all copies are its own; nullptr: of live flows, one each
    std::uint32_t position = 0;  // of the first of those, in the group of the port they leave by
    bool one_flow = false;       // all are that first one's
    std::uint32_t copies = 0;
    std::uint32_t payload_bytes = 0;
    std::uint32_t frame_bytes = 0;
};

/// Collects outgoing packets into bursts and sends them on this worker's queues.
/// Thread: the worker's own.
class Tx {
  public:
    Tx(const WorkerConfig& config, WorkerCounters& counters) noexcept;
    /// Gives back the mbufs it has ready.
    ~Tx();
    Tx(const Tx&) = delete;
    Tx& operator=(const Tx&) = delete;

    /// The burst of one port that is being collected. Mbufs for the next copies stand behind it: a
    /// copy made in the first of them is where it has to be already.
    struct Pending {
        std::uint8_t port = 0;
        std::size_t count = 0;  // packets, below kTxBurstPackets
        std::size_t fresh = 0;  // mbufs behind them, at most kTxBurstPackets
        std::size_t run_count = 0;
        std::uint64_t bytes = 0;           // of frames
        std::uint32_t control_frames = 0;  // control's own, of all
        std::array<rte_mbuf*, 2 * kTxBurstPackets + kReadAheadPackets> packets{};
        std::array<CopyRun, kTxBurstPackets> runs{};
    };
    /// That of `port` (index in WorkerConfig::ports).
    [[nodiscard]] Pending& pending(std::uint8_t port) noexcept { return pending_[port]; }

    /// Mbufs for the next copies, straight from their pool (reference count 1, next
    /// nullptr): as many as fit the burst and are ready, never 0 unless the pool is empty. What
    /// lies behind them (kReadAheadPackets) may be read for prefetching.
    [[nodiscard]] std::span<rte_mbuf* const> fresh(Pending& pending) noexcept {
        if (pending.fresh == 0) [[unlikely]] {
            refill(pending);
        }
        return {&pending.packets[pending.count],
                std::min(pending.fresh, kTxBurstPackets - pending.count)};
    }
    /// The first `run.copies` of fresh(), filled by the caller, are packets now; a full burst is
    /// sent.
    /// Owns: takes them.
    void add_fresh(Pending& pending, const CopyRun& run) noexcept {
        pending.fresh -= run.copies;
        pending.runs[pending.run_count++] = run;
        finish_add(pending, run.copies, std::uint64_t{run.copies} * run.frame_bytes);
    }
    /// How many packets in mbufs of their own it takes: 1..kTxBurstPackets.
    [[nodiscard]] static std::size_t room(const Pending& pending) noexcept {
        return kTxBurstPackets - pending.count;
    }
    /// Where the next `packets` of them go, at most room().
    [[nodiscard]] static rte_mbuf** make_room(Pending& pending, std::size_t packets) noexcept {
        rte_mbuf** const at = &pending.packets[pending.count];
        std::copy_n(at, std::min(packets, pending.fresh), at + std::max(packets, pending.fresh));
        return at;
    }
    /// The `run.copies` that room has been made for are there now; a full burst is sent.
    /// Owns: takes them.
    void add_in_room(Pending& pending, const CopyRun& run) noexcept {
        pending.runs[pending.run_count++] = run;
        pending.control_frames += run.stream == nullptr ? run.copies : 0;
        finish_add(pending, run.copies, std::uint64_t{run.copies} * run.frame_bytes);
    }
    /// Takes control's own frames from their ring (mbuf->port says where to) and adds them.
    /// Returns: frames taken.
    PacketCount add_from_control() noexcept;

    /// Sends what has been added on all ports. One attempt: never blocks, never retries.
    /// Owns:    unsent packets are freed and counted as DropReason::tx_queue_full, and as lost by
    ///          the flows they were for.
    /// Returns: packets the NICs accepted since the last call.
    /// Source:  DPDK 22.11 rte_ethdev.h, rte_eth_tx_burst().
    PacketCount send_all() noexcept;

    /// Mbufs taken from their pools for the next copies.
    [[nodiscard]] std::uint32_t ready() const noexcept;

    /// Counts the copies of a run on `port` from the one numbered `first` on as lost, by stream and
    /// by flow; they have been counted as made.
    static void count_lost_copies(const CopyRun& run,
                                  std::uint8_t port,
                                  std::uint32_t first) noexcept;

    /// Has idle queues give back packets they have sent: some drivers free a packet only when its
    /// descriptor is used again. Where the driver cannot, nothing happens.
    /// Source: DPDK 22.11 rte_ethdev.h, rte_eth_tx_done_cleanup().
    void reclaim() noexcept;

  private:
    void finish_add(Pending& pending, std::uint32_t packets, std::uint64_t bytes) noexcept {
        pending.count += packets;
        pending.bytes += bytes;
        if (pending.count == kTxBurstPackets) {
            send(pending);
        }
    }
    void refill(Pending& pending) noexcept;
    void send(Pending& pending) noexcept;
    static void count_unsent(Pending& pending, std::uint32_t sent) noexcept;

    const WorkerConfig& config_;
    WorkerCounters& counters_;
    PacketCount sent_ = 0;
    std::array<Pending, kPortsMax> pending_{};
};

}  // namespace penstock
