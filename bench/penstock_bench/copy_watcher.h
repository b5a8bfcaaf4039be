#pragma once

#include "data_path/counters.h"
#include "dpdk/port.h"
#include "penstock_bench/fan_out_clock.h"

#include <penstock/result.h>

#include <chrono>
#include <cstdint>

struct rte_mbuf;

namespace penstock::bench {

/// A packet that is sent later than this after it was due is the generator's fault, which Linux or
/// the host kept from its work: it comes in a burst that the open loop would not have made.
inline constexpr std::chrono::nanoseconds kOnTime{1'000};

/// Sees the copies of a stream's StampedContent where a worker hands them to their port, before the
/// driver has them. Outlives the workers.
class CopyWatcher {
  public:
    /// `consumers`: copies of each packet.
    explicit CopyWatcher(std::uint32_t consumers) noexcept
        : consumers_(consumers), clock_(consumers, 0) {}
    CopyWatcher(const CopyWatcher&) = delete;
    CopyWatcher& operator=(const CopyWatcher&) = delete;

    /// Begins to look at what leaves by `port`. Before workers run. Errors: system.
    Result<void> watch(PortQueue port);

    /// Copies seen so far; what the clock has seen of them, it shows.
    [[nodiscard]] std::uint64_t copies() const noexcept { return copies_.acquire(); }
    /// Thread: the generator, while none of its packets is on its way. Those, and the count of
    /// copies that comes back, order the clock's memory between worker and generator.
    [[nodiscard]] const FanOutClock& clock() const noexcept { return clock_; }
    /// Thread: as clock().
    void clear() noexcept { clock_.clear(); }

  private:
    static std::uint16_t look_at(std::uint16_t port,
                                 std::uint16_t queue,
                                 rte_mbuf** copies,
                                 std::uint16_t count,
                                 void* watcher);

    std::uint32_t consumers_;
    FanOutClock clock_;  // written: the worker, while packets are on their way; else the generator
    Counter copies_;     // written: the worker, after the clock. Read: the generator, acquired
};

}  // namespace penstock::bench
