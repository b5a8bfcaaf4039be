#include "data_server/watchdog.h"

#include <systemd/sd-daemon.h>

namespace penstock {

Watchdog::Watchdog() {
    std::uint64_t asked_us = 0;
    if (::sd_watchdog_enabled(0, &asked_us) > 0) {
        // Half of it, as the manual advises: one that is late does no harm.
        interval_ = std::chrono::milliseconds(asked_us / 2 / 1'000);
    }
}

void Watchdog::ready() { ::sd_notify(0, "READY=1"); }

void Watchdog::feed(std::uint64_t now_ms) {
    if (interval_.count() == 0 ||
        now_ms - fed_at_ms_ < static_cast<std::uint64_t>(interval_.count())) {
        return;
    }
    fed_at_ms_ = now_ms;
    ::sd_notify(0, "WATCHDOG=1");
}

}  // namespace penstock
