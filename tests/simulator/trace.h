#pragma once

#include "base/clock.h"

#include <fmt/format.h>

#include <chrono>
#include <cstddef>
#include <deque>
#include <string>
#include <utility>

namespace penstock::simulator {

/// What happened, line by line, if anybody wants to know: a run that failed is run again with it.
class Trace {
  public:
    explicit Trace(std::size_t lines_max) : lines_max_(lines_max) {}

    template <typename... Values>
    void say(MonotonicTime now, fmt::format_string<Values...> text, Values&&... values) {
        if (lines_max_ == 0) {
            return;
        }
        const std::chrono::duration<double> at = now.time_since_epoch();
        lines_.push_back(fmt::format("{:10.6f}  ", at.count()) +
                         fmt::format(text, std::forward<Values>(values)...));
        if (lines_.size() > lines_max_) {
            lines_.pop_front();
        }
    }
    [[nodiscard]] bool is_on() const noexcept { return lines_max_ > 0; }
    [[nodiscard]] const std::deque<std::string>& lines() const noexcept { return lines_; }

  private:
    std::size_t lines_max_;
    std::deque<std::string> lines_;
};

}  // namespace penstock::simulator
