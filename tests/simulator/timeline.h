#pragma once

#include "base/clock.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace penstock::simulator {

/// The virtual clock, and what is to happen when. Jobs of one time run in the order they were
/// given.
class Timeline {
  public:
    using Job = std::function<void()>;

    explicit Timeline(MonotonicTime start) : now_(start) { jobs_.reserve(256); }

    [[nodiscard]] MonotonicTime now() const noexcept { return now_; }
    void at(MonotonicTime when, Job job) {
        jobs_.push_back({std::max(when, now_), ++newest_, std::move(job)});
        std::push_heap(jobs_.begin(), jobs_.end(), is_later);
    }
    /// Runs the next job if it is due by `until`; else the clock goes there.
    /// Returns: whether there was one.
    bool run_next(MonotonicTime until) {
        if (jobs_.empty() || jobs_.front().when > until) {
            now_ = std::max(now_, until);
            return false;
        }
        std::pop_heap(jobs_.begin(), jobs_.end(), is_later);
        const Entry next = std::move(jobs_.back());
        jobs_.pop_back();
        now_ = next.when;
        next.job();
        return true;
    }

  private:
    struct Entry {
        MonotonicTime when;
        std::uint64_t number;
        Job job;
    };
    static bool is_later(const Entry& one, const Entry& other) noexcept {
        return one.when != other.when ? one.when > other.when : one.number > other.number;
    }

    MonotonicTime now_;
    std::uint64_t newest_ = 0;
    std::vector<Entry> jobs_;
};

}  // namespace penstock::simulator
