#pragma once

#include "base/cache_line.h"
#include "data_path/burst.h"
#include "data_path/counters.h"
#include "data_path/flow_group.h"
#include "data_path/stream.h"
#include "data_path/worker_config.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace penstock {

/// Copies that lie side by side in a burst and have the same size: of one packet to neighbouring
/// live flows, or of one or several packets to a single flow. Read if some are lost.
struct CopyRun {
    Stream* stream = nullptr;    // nullptr: control's own frame
    FlowRecord* flow = nullptr;  // all copies are its own; nullptr: of live flows, one each
    std::uint32_t position = 0;  // of the first of those, in the group of the port they leave by
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

    /// The burst of one port that is being collected.
    struct Pending {
        std::uint8_t port = 0;
        std::size_t count = 0;
        std::size_t run_count = 0;
        std::uint64_t bytes = 0;                 // of frames
        std::uint32_t control_frames = 0;        // control's own, of all
        std::size_t fresh_at = kTxBurstPackets;  // the first of those ready in `fresh`
        std::array<rte_mbuf*, kTxBurstPackets + kReadAheadPackets> packets{};
        std::array<rte_mbuf*, kTxBurstPackets + kReadAheadPackets> fresh{};
        std::array<CopyRun, kTxBurstPackets> runs{};
    };
    /// That of `port` (index in WorkerConfig::ports).
    [[nodiscard]] Pending& pending(std::uint8_t port) noexcept { return pending_[port]; }

    /// Mbufs for the next copies, straight from their pool (reference count 1, next
    /// nullptr): as many as fit the burst and are ready, never 0 unless the pool is empty. What
    /// lies behind them (kReadAheadPackets) may be read for prefetching.
    [[nodiscard]] std::span<rte_mbuf* const> fresh(Pending& pending) noexcept {
        if (pending.fresh_at == kTxBurstPackets) [[unlikely]] {
            refill(pending);
        }
        return {&pending.fresh[pending.fresh_at],
                std::min(kTxBurstPackets - pending.fresh_at, kTxBurstPackets - pending.count)};
    }
    /// The first `run.copies` of fresh(), filled by the caller, are packets now; a full burst is
    /// sent.
    /// Owns: takes them.
    void add_fresh(Pending& pending, const CopyRun& run) noexcept {
        copy_pointers(
            &pending.fresh[pending.fresh_at], run.copies, &pending.packets[pending.count]);
        pending.fresh_at += run.copies;
        pending.runs[pending.run_count++] = run;
        finish_add(pending, run.copies, std::uint64_t{run.copies} * run.frame_bytes);
    }
    /// Where the next packets in mbufs of their own go: 1..kTxBurstPackets places.
    [[nodiscard]] static std::span<rte_mbuf*> room(Pending& pending) noexcept {
        return std::span{pending.packets}.first(kTxBurstPackets).subspan(pending.count);
    }
    /// The first `run.copies` of room() hold packets now; a full burst is sent.
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
    /// Whole cache lines: up to kReadAheadPackets - 1 pointers more, which mean nothing.
    static void copy_pointers(rte_mbuf* const* from, std::size_t count, rte_mbuf** to) noexcept {
        static_assert(kReadAheadPackets * sizeof(void*) == kCacheLineBytes);
        for (std::size_t i = 0; i < count; i += kReadAheadPackets) {
            std::memcpy(to + i, from + i, kCacheLineBytes);
        }
    }

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
