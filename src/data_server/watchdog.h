#pragma once

#include <chrono>
#include <cstdint>

namespace penstock {

/// What the service manager is told: that we are ready, and from then on that we are alive, as
/// often as it wants to hear it. Without one that asks, nothing happens. Thread: main.
/// Source: sd_notify(3), sd_watchdog_enabled(3).
class Watchdog {
  public:
    Watchdog();
    static void ready();
    /// To be called often, and only while everything that matters moves.
    void feed(std::uint64_t now_ms);

  private:
    std::chrono::milliseconds interval_{0};  // 0: nobody asks
    std::uint64_t fed_at_ms_ = 0;
};

}  // namespace penstock
