#pragma once

#include "base/clock.h"
#include "base/unique_fd.h"

#include <penstock/result.h>

#include <chrono>
#include <string>
#include <sys/types.h>

namespace penstock {

/// A command run by /bin/sh in a process group of its own, whose standard output we read. It is
/// ended as a group: SIGTERM, and SIGKILL to whatever is left after kGrace; and reaped.
/// Thread: one.
class ChildProcess {
  public:
    static constexpr std::chrono::seconds kGrace{2};
    static constexpr std::chrono::milliseconds kLookInterval{10};  // while it is being ended

    /// Standard input is empty, standard error ours. Errors: system.
    static Result<ChildProcess> start(const std::string& command);
    ChildProcess(ChildProcess&& other) noexcept;
    ChildProcess& operator=(ChildProcess&& other) noexcept;
    /// Ends it and waits until it is gone, little more than kGrace at most.
    ~ChildProcess();

    /// Its standard output, non-blocking; ends when the command and all it started have closed it.
    [[nodiscard]] int output() const noexcept { return output_.get(); }
    /// Asks the whole group to end; tend() sees to the rest.
    void end(MonotonicTime now) noexcept;
    /// Reaps what is dead, kills what outlived its grace. To be called at next_look() while ending.
    /// Returns: whether all of the group is gone.
    bool tend(MonotonicTime now) noexcept;
    [[nodiscard]] bool is_ending() const noexcept { return is_ending_; }
    /// How the shell ended: "exit status 1", "signal 9"; "" while it runs.
    [[nodiscard]] std::string ending() const;
    [[nodiscard]] pid_t group() const noexcept { return group_; }

  private:
    ChildProcess(pid_t group, UniqueFd output, UniqueFd pid_fd)
        : group_(group), output_(std::move(output)), pid_fd_(std::move(pid_fd)) {}
    void reap() noexcept;
    void kill_group(int signal) const noexcept;

    pid_t group_ = 0;  // the shell's pid; 0: moved from or gone
    UniqueFd output_;
    UniqueFd pid_fd_;
    int status_ = 0;
    bool is_reaped_ = false;  // the shell
    bool is_ending_ = false;
    MonotonicTime kill_at_{};
};

}  // namespace penstock
