#include "penstock_publish/child_process.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace penstock {
namespace {

Error spawn_error(const char* what, int number) {
    return {ErrorCode::system,
            fmt::format(
                "cannot run the command: {}: {}", what, std::generic_category().message(number))};
}

/// What posix_spawn is to do in the child: a group of its own, no signal of ours blocked or
/// ignored, nothing open but its three.
struct SpawnPlan {
    posix_spawn_file_actions_t actions{};
    posix_spawnattr_t attributes{};

    explicit SpawnPlan(int output) {
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
        posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
        posix_spawnattr_init(&attributes);
        posix_spawnattr_setpgroup(&attributes, 0);
        sigset_t signals;
        sigfillset(&signals);
        posix_spawnattr_setsigdefault(&attributes, &signals);
        sigemptyset(&signals);
        posix_spawnattr_setsigmask(&attributes, &signals);
        posix_spawnattr_setflags(
            &attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    }
    ~SpawnPlan() {
        posix_spawn_file_actions_destroy(&actions);
        posix_spawnattr_destroy(&attributes);
    }
    SpawnPlan(const SpawnPlan&) = delete;
    SpawnPlan& operator=(const SpawnPlan&) = delete;
};

}  // namespace

Result<ChildProcess> ChildProcess::start(const std::string& command) {
    // What the shell leaves behind becomes our child, so that it can be reaped, too.
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        return spawn_error("pipe", errno);
    }
    UniqueFd read_end(ends[0]);
    const UniqueFd write_end(ends[1]);
    ::fcntl(read_end.get(), F_SETFL, O_NONBLOCK);

    const SpawnPlan plan(write_end.get());
    std::string shell = "/bin/sh";
    std::string option = "-c";
    std::string text = command;
    const std::array<char*, 4> arguments{shell.data(), option.data(), text.data(), nullptr};
    pid_t pid = 0;
    const int failed = posix_spawn(
        &pid, shell.c_str(), &plan.actions, &plan.attributes, arguments.data(), environ);
    if (failed != 0) {
        return spawn_error(shell.c_str(), failed);
    }
    // Lets the destructor wait without polling; without it (very old kernels) it looks in turns.
    UniqueFd pid_fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    return ChildProcess(pid, std::move(read_end), std::move(pid_fd));
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : group_(std::exchange(other.group_, 0)),
      output_(std::move(other.output_)),
      pid_fd_(std::move(other.pid_fd_)),
      status_(other.status_),
      is_reaped_(other.is_reaped_),
      is_ending_(other.is_ending_),
      kill_at_(other.kill_at_) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
    std::swap(group_, other.group_);
    std::swap(output_, other.output_);
    std::swap(pid_fd_, other.pid_fd_);
    std::swap(status_, other.status_);
    std::swap(is_reaped_, other.is_reaped_);
    std::swap(is_ending_, other.is_ending_);
    std::swap(kill_at_, other.kill_at_);
    return *this;
}

ChildProcess::~ChildProcess() {
    if (group_ == 0) {
        return;
    }
    end(monotonic_now());
    // What SIGKILL does not end within a second (stuck in the kernel) is left to init.
    const MonotonicTime give_up_at = monotonic_now() + kGrace + std::chrono::seconds{1};
    while (!tend(monotonic_now()) && monotonic_now() < give_up_at) {
        pollfd polled{.fd = is_reaped_ ? -1 : pid_fd_.get(), .events = POLLIN, .revents = 0};
        ::poll(&polled, 1, static_cast<int>(kLookInterval.count()));
    }
}

void ChildProcess::kill_group(int signal) const noexcept {
    if (group_ > 0) {
        ::kill(-group_, signal);
    }
}

void ChildProcess::end(MonotonicTime now) noexcept {
    if (!std::exchange(is_ending_, true)) {
        output_.reset();
        kill_at_ = now + kGrace;
        kill_group(SIGTERM);
    }
}

void ChildProcess::reap() noexcept {
    int status = 0;
    for (pid_t pid = ::waitpid(-group_, &status, WNOHANG); pid > 0;
         pid = ::waitpid(-group_, &status, WNOHANG)) {
        if (pid == group_) {
            is_reaped_ = true;
            status_ = status;
        }
    }
}

bool ChildProcess::tend(MonotonicTime now) noexcept {
    if (group_ == 0) {
        return true;
    }
    reap();
    const bool is_empty = is_reaped_ && ::kill(-group_, 0) != 0 && errno == ESRCH;
    if (is_empty) {
        group_ = 0;
        return true;
    }
    if (is_ending_ && now >= kill_at_) {
        kill_group(SIGKILL);
    }
    return false;
}

std::string ChildProcess::ending() const {
    if (!is_reaped_) {
        return {};
    }
    if (WIFSIGNALED(status_)) {
        return fmt::format("signal {}", WTERMSIG(status_));
    }
    return fmt::format("exit status {}", WEXITSTATUS(status_));
}

}  // namespace penstock
