#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <ctime>

namespace penstock::presence {

/// CLOCK_BOOTTIME: goes on while the machine sleeps, as everybody else's clock does.
struct BootClock {
    using duration = std::chrono::nanoseconds;
    using time_point = std::chrono::time_point<BootClock>;

    static time_point now() noexcept {
        std::timespec read{};
        ::clock_gettime(CLOCK_BOOTTIME, &read);
        return time_point(std::chrono::seconds(read.tv_sec) +
                          std::chrono::nanoseconds(read.tv_nsec));
    }
};
using BootTime = BootClock::time_point;

/// Until when commands may leave this process: a leader stops before its lease can have ended,
/// whatever its threads are doing. Closed at first. Thread: any.
class CommandGate {
  public:
    void open_until(BootTime end) noexcept { end_ns_ = end.time_since_epoch().count(); }
    void close() noexcept { end_ns_ = 0; }
    [[nodiscard]] bool is_open(BootTime now) const noexcept {
        return now.time_since_epoch().count() < end_ns_;
    }

  private:
    std::atomic<std::int64_t> end_ns_ = 0;
};

}  // namespace penstock::presence
