#pragma once

#include "base/unique_fd.h"
#include "penstock_bench/fixed_text.h"

#include <penstock/result.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <sys/types.h>
#include <type_traits>
#include <utility>

namespace penstock::bench {

/// A process of its own for one measurement: DPDK starts once in a process, and nothing that a
/// trial leaves in memory or caches reaches the next. Thread: main, before any other exists.
class Child {
  public:
    /// `work` writes its result, `bytes` of it, to where it is told. Errors: system.
    static Result<Child> start(std::size_t bytes, const std::function<Result<void>(void*)>& work);
    Child(Child&& other) noexcept;
    Child& operator=(Child&&) = delete;
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    /// Kills it if it still runs.
    ~Child();

    /// Waits for its result and its end.
    /// Errors: what `work` returned; timed_out; system, if it died.
    Result<void> take(void* result, std::chrono::milliseconds patience);

  private:
    Child(pid_t pid, UniqueFd pipe, std::size_t bytes) noexcept
        : pid_(pid), pipe_(std::move(pipe)), bytes_(bytes) {}
    Result<void> read_all(void* to, std::size_t bytes, std::chrono::steady_clock::time_point until);
    Error ended();

    pid_t pid_;  // 0 once reaped
    UniqueFd pipe_;
    std::size_t bytes_;
};

/// Runs `work` in a child and returns what it returns.
template <typename T>
Result<T> in_child(std::chrono::milliseconds patience, const std::function<Result<T>()>& work) {
    static_assert(std::is_trivially_copyable_v<T>, "it travels through a pipe");
    auto child = Child::start(sizeof(T), [&work](void* to) -> Result<void> {
        auto result = work();
        if (!result) {
            return std::move(result).error();
        }
        *static_cast<T*>(to) = *result;
        return {};
    });
    if (!child) {
        return std::move(child).error();
    }
    T result{};
    if (auto taken = child->take(&result, patience); !taken) {
        return taken.error();
    }
    return result;
}

}  // namespace penstock::bench
