#pragma once

#include "base/unique_fd.h"

#include <cstdint>
#include <sys/eventfd.h>

namespace penstock {

/// Lets one thread wake another out of poll(2).
class WakeEvent {
  public:
    WakeEvent() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

    /// False if the system gave no descriptor.
    explicit operator bool() const noexcept { return static_cast<bool>(fd_); }
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }

    /// Thread: any.
    void set() const noexcept {
        const std::uint64_t one = 1;
        // Fails only when the counter is full, and then the other thread is woken already.
        [[maybe_unused]] const auto written = ::write(fd_.get(), &one, sizeof(one));
    }
    /// Thread: the one that polls.
    void clear() const noexcept {
        std::uint64_t count = 0;
        [[maybe_unused]] const auto read = ::read(fd_.get(), &count, sizeof(count));
    }

  private:
    UniqueFd fd_;
};

}  // namespace penstock
