#pragma once

#include "dpdk/port.h"

#include <array>
#include <cstdint>
#include <vector>

struct rte_mempool;

namespace penstock::bench {

/// Counts of a stretch of traffic.
struct TrafficCounts {
    std::uint64_t due = 0;       // packets that were to be sent
    std::uint64_t sent = 0;      // of them, taken by the port
    std::uint64_t received = 0;  // copies
    std::uint64_t in_time = 0;   // of them, before the end of sending
};

/// Sends one frame over and over from one port and counts what comes back at another, both polled
/// by the calling thread. Ports outlive it.
class Traffic {
  public:
    /// `copies`: of each packet that is sent, how many are to be expected.
    Traffic(const Port& to,
            const Port& from,
            rte_mempool& pool,
            std::vector<std::uint8_t> frame,
            std::uint32_t copies);

    /// Sends at that rate for that long, then receives until nothing has come for a while.
    /// `packets_per_second`: infinite for as much as the port takes; then what it does not take was
    /// never due. A sender that was kept from its work leaves packets out: fewer are due.
    [[nodiscard]] TrafficCounts run(double packets_per_second, double seconds);
    /// Receives until nothing has come for a while.
    void settle() noexcept;

  private:
    static constexpr std::uint16_t kBurst = 32;

    void send_due(std::uint64_t due) noexcept;
    std::uint16_t send(std::uint16_t packets) noexcept;
    std::uint16_t receive() noexcept;

    PortQueue to_;
    PortQueue from_;
    rte_mempool& pool_;
    std::vector<std::uint8_t> frame_;
    std::uint32_t copies_;
    TrafficCounts counts_;
    std::uint64_t skipped_ = 0;  // packets whose time passed while nobody could send them
};

}  // namespace penstock::bench
