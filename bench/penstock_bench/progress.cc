#include "penstock_bench/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <unistd.h>

namespace penstock::bench {

Progress::Progress(std::uint64_t steps)
    : steps_(std::max<std::uint64_t>(steps, 1)), is_terminal_(::isatty(STDERR_FILENO) == 1) {}

void Progress::show(std::uint64_t step, std::string_view doing) const {
    if (is_terminal_) {
        fmt::print(stderr, "\r\033[K{}", progress_line(step, steps_, doing));
        std::fflush(stderr);
    }
}

void Progress::clear() const {
    if (is_terminal_) {
        std::fputs("\r\033[K", stderr);
        std::fflush(stderr);
    }
}

std::string progress_line(std::uint64_t step, std::uint64_t steps, std::string_view doing) {
    constexpr std::uint64_t kWidth = 30;
    const std::uint64_t done = std::min(step, steps);
    const std::uint64_t filled = done * kWidth / steps;
    return fmt::format("[{}{}] {:3} % {}",
                       std::string(filled, '#'),
                       std::string(kWidth - filled, ' '),
                       done * 100 / steps,
                       doing);
}

}  // namespace penstock::bench
