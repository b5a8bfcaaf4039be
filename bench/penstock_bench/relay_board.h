#pragma once

#include "base/net_address.h"
#include "data_path/drop_reasons.h"
#include "penstock_bench/disturbance.h"

#include <penstock/result.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <semaphore.h>

namespace penstock::bench {

/// What the relay has done, as the generator's process sees it.
struct RelayCounts {
    std::uint64_t received = 0;  // packets taken from the ports
    std::uint64_t tx_packets = 0;
    std::uint64_t busy_cycles = 0;
    std::uint64_t cycles = 0;
    std::array<std::uint64_t, kDropReasonCount> drops{};
    Interference interference;  // of the workers
};

/// Memory that relay and generator share. The relay's main thread sleeps until it is asked for its
/// counts, because it may well live on the generator's CPU and would disturb it.
class RelayBoard {
  public:
    RelayBoard();
    ~RelayBoard();
    RelayBoard(const RelayBoard&) = delete;
    RelayBoard& operator=(const RelayBoard&) = delete;

    /// The relay will not come. Thread: the relay's main.
    void give_up() noexcept;
    /// The relay runs and is reached at `to_mac`: answers ask() until stop(). Thread: its main.
    void serve(const MacAddress& to_mac, const std::function<RelayCounts()>& counts);

    /// Waits for the relay to serve, or to give up. nullopt: it gave up, or `patience` ended.
    /// Thread: the generator's.
    std::optional<MacAddress> wait(std::chrono::milliseconds patience);
    /// The relay's counts as of now; nullopt if it does not answer within a second.
    /// Thread: the generator's.
    std::optional<RelayCounts> ask();

    /// Ends serve(). Thread: any, of any process.
    void stop() noexcept;

    /// No worker of the relay touches a port any more. Thread: the relay's main.
    void leave() noexcept;
    /// Ends serve() and waits for the relay to leave; whether it did within `patience`.
    /// Thread: the generator's.
    bool stop_and_wait(std::chrono::milliseconds patience);

  private:
    sem_t begun_{};
    sem_t asked_{};
    sem_t answered_{};
    sem_t left_{};
    std::atomic<bool> gave_up_{false};
    std::atomic<bool> stop_{false};
    // Written: relay, before it posts begun_ or answered_. Read: generator, after it.
    MacAddress to_mac_;
    RelayCounts counts_;
};

/// Unmapped at the end.
using SharedRelayBoard = std::unique_ptr<RelayBoard, void (*)(RelayBoard*)>;
/// Errors: system.
Result<SharedRelayBoard> share_relay_board();

}  // namespace penstock::bench
