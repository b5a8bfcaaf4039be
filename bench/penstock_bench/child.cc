#include "penstock_bench/child.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace penstock::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct Head {
    bool ok = false;
    ErrorCode code = ErrorCode::system;
    FixedText<1000> message;
};

void write_all(int fd, const void* data, std::size_t bytes) {
    const auto* at = static_cast<const std::byte*>(data);
    while (bytes > 0) {
        const ssize_t written = ::write(fd, at, bytes);
        if (written < 0) {
            if (errno == EINTR) {
                continue;
            }
            return;  // nobody reads any more
        }
        at += written;
        bytes -= static_cast<std::size_t>(written);
    }
}

Result<void> run(const std::function<Result<void>(void*)>& work, void* result) {
    try {
        return work(result);
    } catch (const std::exception& error) {  // out of memory
        return Error{ErrorCode::system, error.what()};
    }
}

[[noreturn]] void be_child(int pipe,
                           std::size_t bytes,
                           const std::function<Result<void>(void*)>& work) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::vector<std::byte> result(bytes);
    const auto done = run(work, result.data());
    Head head;
    head.ok = done.ok();
    if (!done) {
        head.code = done.error().code;
        head.message = std::string_view(done.error().message);
    }
    write_all(pipe, &head, sizeof(head));
    if (head.ok) {
        write_all(pipe, result.data(), result.size());
    }
    std::fflush(nullptr);
    ::_exit(0);
}

}  // namespace

Result<Child> Child::start(std::size_t bytes, const std::function<Result<void>(void*)>& work) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        return Error{ErrorCode::system, "no pipe for a process that measures; raise `ulimit -n`"};
    }
    UniqueFd read_end(ends[0]);
    const UniqueFd write_end(ends[1]);
    std::fflush(nullptr);  // or it would be printed twice
    const pid_t pid = ::fork();
    if (pid < 0) {
        return Error{ErrorCode::system, "no process that measures; raise `ulimit -u`"};
    }
    if (pid == 0) {
        read_end.reset();
        be_child(write_end.get(), bytes, work);
    }
    return Child(pid, std::move(read_end), bytes);
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)), pipe_(std::move(other.pipe_)), bytes_(other.bytes_) {}

Child::~Child() {
    if (pid_ > 0) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
}

Result<void> Child::take(void* result, milliseconds patience) {
    const auto until = steady_clock::now() + patience;
    Head head;
    if (auto read = read_all(&head, sizeof(head), until); !read) {
        return read;
    }
    if (head.ok) {
        if (auto read = read_all(result, bytes_, until); !read) {
            return read;
        }
    }
    ::waitpid(std::exchange(pid_, 0), nullptr, 0);
    if (!head.ok) {
        return Error{head.code, head.message.text()};
    }
    return {};
}

Result<void> Child::read_all(void* to, std::size_t bytes, steady_clock::time_point until) {
    auto* at = static_cast<std::byte*>(to);
    while (bytes > 0) {
        const auto left = std::chrono::ceil<milliseconds>(until - steady_clock::now());
        pollfd polled{.fd = pipe_.get(), .events = POLLIN, .revents = 0};
        const int ready = left.count() > 0 ? ::poll(&polled, 1, static_cast<int>(left.count())) : 0;
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        if (ready <= 0) {
            return Error{ErrorCode::timed_out,
                         "the process that measures does not end; look for what holds its CPUs"};
        }
        const ssize_t got = ::read(pipe_.get(), at, bytes);
        if (got <= 0) {
            return ended();
        }
        at += got;
        bytes -= static_cast<std::size_t>(got);
    }
    return {};
}

Error Child::ended() {
    int status = 0;
    ::waitpid(std::exchange(pid_, 0), &status, 0);
    return {ErrorCode::system,
            WIFSIGNALED(status)
                ? fmt::format("the process that measures was ended by signal {}: this is a bug "
                              "unless somebody killed it",
                              WTERMSIG(status))
                : fmt::format("the process that measures ended with status {} and no result: this "
                              "is a bug",
                              WEXITSTATUS(status))};
}

}  // namespace penstock::bench
