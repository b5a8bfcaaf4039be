#pragma once

#include "data_path/burst.h"
#include "data_path/counters.h"
#include "data_path/worker_config.h"

#include <array>

namespace penstock {

/// Takes bursts from this worker's queues.
/// Thread: the worker's own. A burst is valid until the next one is taken.
class Rx {
  public:
    Rx(const WorkerConfig& config, WorkerCounters& counters) noexcept;

    /// From the NIC queue of port `port` (index in WorkerConfig::ports). mbuf->port means nothing:
    /// not every driver sets it.
    /// Owns:    gives the packets to the caller.
    /// Returns: 0..kRxBurstPackets frames.
    /// Source:  DPDK 22.11 rte_ethdev.h, rte_eth_rx_burst().
    [[nodiscard]] Burst receive(std::uint8_t port) noexcept;

    /// Frames another worker received for streams this one owns; mbuf->port says where. As
    /// receive().
    [[nodiscard]] Burst take_over(std::uint8_t sender) noexcept;

    /// Looks how full the NIC queues are, where the driver can tell.
    void sample_queues() noexcept;

  private:
    const WorkerConfig& config_;
    WorkerCounters& counters_;
    std::array<rte_mbuf*, kRxBurstPackets> packets_{};
};

}  // namespace penstock
