#pragma once

#include "data_path/burst.h"
#include "data_path/counters.h"
#include "data_path/flow_group.h"
#include "data_path/stream.h"
#include "data_path/worker.h"

#include <array>
#include <cstdint>
#include <span>

namespace penstock {

/// Copies of one packet that lie side by side in a burst: to neighbouring live flows, or to one
/// flow that catches up.
struct CopyRun {
    Stream* stream = nullptr;
    FlowRecord* const* live_flows = nullptr;  // `copies` of them, in the order of the copies
    FlowRecord* catching_up = nullptr;        // if live_flows is nullptr
    std::uint32_t copies = 0;
    std::uint32_t payload_bytes = 0;
    std::uint32_t frame_bytes = 0;
};

/// Collects outgoing packets into bursts and sends them on this worker's queues.
/// Thread: the worker's own.
class Tx {
  public:
    Tx(const WorkerConfig& config, WorkerCounters& counters) noexcept;

    /// The free places of the burst that is being filled for `port`, at least one; the caller fills
    /// them from the front and says so by add(). What lies behind them may be read for prefetching.
    [[nodiscard]] std::span<rte_mbuf*> room(std::uint8_t port) noexcept {
        Pending& pending = pending_[port];
        return {&pending.packets[pending.count], kTxBurstPackets - pending.count};
    }
    /// The first `run.copies` places of room() are filled; a full burst is sent.
    /// Owns: takes them.
    void add(std::uint8_t port, const CopyRun& run) noexcept {
        Pending& pending = pending_[port];
        pending.runs[pending.run_count++] = run;
        pending.count += run.copies;
        if (pending.count == kTxBurstPackets) {
            send(port);
        }
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

    /// Counts the copies of a run from the one numbered `first` on as lost, by stream and by flow.
    static void count_lost_copies(const CopyRun& run, std::uint32_t first) noexcept;

    /// Has idle queues give back packets they have sent: some drivers free a packet only when its
    /// descriptor is used again. Where the driver cannot, nothing happens.
    /// Source: DPDK 22.11 rte_ethdev.h, rte_eth_tx_done_cleanup().
    void reclaim() noexcept;

  private:
    /// Places behind the burst that prefetching may read.
    static constexpr std::size_t kReadAheadPackets = 8;

    struct Pending {
        std::uint32_t count = 0;
        std::uint32_t run_count = 0;
        std::array<rte_mbuf*, kTxBurstPackets + kReadAheadPackets> packets{};
        std::array<CopyRun, kTxBurstPackets> runs{};
    };

    void send(std::uint8_t port) noexcept;
    void account(const CopyRun& run, std::uint32_t sent) noexcept;

    const WorkerConfig& config_;
    WorkerCounters& counters_;
    PacketCount sent_ = 0;
    std::array<Pending, kPortsMax> pending_{};
};

}  // namespace penstock
