#pragma once

#include "data_server/control_messages.h"
#include "data_server/standstill.h"
#include "dpdk/linux_link.h"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace penstock {

/// One worker on one port, as counted so far.
struct QueueSnapshot {
    std::uint32_t port = 0;
    std::uint32_t worker = 0;
    std::uint64_t rx_packets = 0;
    std::uint64_t tx_packets = 0;
    std::uint64_t tx_bytes = 0;  // frames without FCS
    std::uint64_t tx_unsent = 0;
    std::optional<std::uint64_t> rx_waiting;  // packets in the queue now; nullopt: not supported
};

struct WorkerSnapshot {
    std::uint64_t busy_cycles = 0;
    std::uint64_t idle_cycles = 0;
    std::uint64_t turns = 0;  // finished or begun
};

struct PortSnapshot {
    std::optional<std::uint64_t> missed;     // lost by the NIC so far, for want of a descriptor or
                                             // of an mbuf; nullopt: not supported
    std::uint64_t link_bits_per_second = 0;  // 0: unknown
    LinkState link = LinkState::unknown;
};

/// Every counter at one moment.
struct LoadSnapshot {
    std::uint64_t tsc = 0;
    std::vector<WorkerSnapshot> workers;
    std::vector<PortSnapshot> ports;
    std::vector<QueueSnapshot> queues;
    std::uint64_t pool_packets_used = 0;
    std::uint64_t packets_in = 0;
    std::uint64_t copies = 0;
    std::uint64_t drops = 0;
};

/// What the snapshots are measured against.
struct LoadLimits {
    std::uint64_t tsc_hz = 0;
    std::uint32_t rx_descriptors = 0;
    std::uint64_t pool_packets = 0;  // that may be used before the pool is short
};

/// A queue that loses one packet in a hundred is full, whatever else it measures.
inline constexpr double kLossLimit = 0.01;

/// Load in the time from `before` to `now` as shares of their limits, the largest of them, and its
/// name. Both snapshots list the same workers, ports and queues in the same order. `sequence`,
/// `monotonic_ms`, `copy_bytes` and `streams` of the report are left for the caller.
/// Pure: no clock, no I/O.
LoadReport make_load_report(const LoadSnapshot& before,
                            const LoadSnapshot& now,
                            const LoadLimits& limits);

/// Which ports hear nothing and which workers do not move, from one report to the next.
class Liveness {
  public:
    /// Sets `ports` and `stuck_workers` of the report that is made of this snapshot.
    void look(const LoadSnapshot& now, std::uint64_t now_ms, LoadReport& report);
    /// At the newest look.
    [[nodiscard]] bool do_workers_move() const noexcept { return workers_move_; }

    /// A turn takes microseconds; one that has no end for so long is caught in something. Well
    /// above what a scheduler takes a CPU away for.
    static constexpr std::uint64_t kStuckMs = 700;

  private:
    Standstill ports_;
    Standstill workers_;
    bool workers_move_ = true;
};

/// At most control::kLoadStreamsMax of `now` that differ from their namesake in `reported`,
/// starting behind the stream reported last, so that every changed stream has its turn. Updates
/// `reported`.
class StreamLoadDiff {
  public:
    std::vector<StreamLoad> changed(std::span<const StreamLoad> now);

  private:
    std::vector<StreamLoad> reported_;  // sorted by stream
    StreamId last_;
};

}  // namespace penstock
