#include "penstock_bench/fan_out_clock.h"

namespace penstock::bench {

void FanOutClock::take(const Stamp& stamp, std::uint64_t now) noexcept {
    if (stamp.number != number_) {
        number_ = stamp.number;
        seen_ = 0;
        first_at_ = now;
    }
    ++seen_;
    if (seen_ == consumers_) {
        first_.record(first_at_ - stamp.due_tsc);
        last_.record(now - stamp.due_tsc);
        if (stamp.late_cycles <= on_time_) {
            added_.record(now - stamp.due_tsc - stamp.late_cycles);
        }
        skew_.record(now - first_at_);
    }
}

void FanOutClock::clear() noexcept {
    number_ = ~std::uint32_t{0};
    seen_ = 0;
    first_.clear();
    last_.clear();
    added_.clear();
    skew_.clear();
}

}  // namespace penstock::bench
