#include "penstock_publish/transmit_loop.h"

#include "base/json.h"
#include "base/log.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <poll.h>
#include <utility>

namespace penstock {
namespace {

using std::chrono::milliseconds;

// How late a signal, or a STOP (which publish() itself obeys at once), may be noticed here.
constexpr milliseconds kRestMost{100};
constexpr milliseconds kPauseMost{20};
constexpr milliseconds kLookInterval{5};
// The kernel's send buffer is full: the network card is slower than the content. Waited for that
// long, then the datagrams are lost.
constexpr milliseconds kRetryFor{20};

timespec to_timespec(std::chrono::nanoseconds length) noexcept {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(length);
    return {.tv_sec = seconds.count(), .tv_nsec = (length - seconds).count()};
}

/// Sleeps until `until`, or until `fd` (unless -1) can be read. A signal ends it early.
void pause(MonotonicTime until, int fd, MonotonicTime now) {
    const std::chrono::nanoseconds left =
        std::clamp<std::chrono::nanoseconds>(until - now, std::chrono::nanoseconds{0}, kPauseMost);
    const timespec length = to_timespec(left);
    pollfd polled{.fd = fd, .events = POLLIN, .revents = 0};
    ::ppoll(&polled, 1, &length, nullptr);
}

}  // namespace

const char* state_word(PublisherState state) noexcept {
    switch (state) {
        case PublisherState::connecting:
            return "connecting";
        case PublisherState::waiting:
            return "waiting";
        case PublisherState::starting:
            return "starting";
        case PublisherState::transmitting:
            return "transmitting";
        case PublisherState::stopped:
            return "stopped";
        case PublisherState::ended:
            return "ended";
    }
    return "unknown";
}

std::string state_line(const PublisherStatus& status, bool json, MonotonicTime now) {
    if (status.state == PublisherState::connecting || status.state == PublisherState::ended) {
        return {};
    }
    if (json) {
        const auto monotonic_ms =
            std::chrono::duration_cast<milliseconds>(now.time_since_epoch()).count();
        JsonWriter line;
        line.begin_object()
            .member("event", "state")
            .member("state", state_word(status.state))
            .member("version", status.version)
            .member("data_server", status.data_server)
            .member("monotonic_ms", monotonic_ms)
            .end_object();
        return line.text();
    }
    std::string line = fmt::format("state {} version={}", state_word(status.state), status.version);
    if (!status.data_server.empty()) {
        line += " data_server=" + status.data_server;
    }
    return line;
}

std::string done_line(const PublisherStatus& status) {
    JsonWriter line;
    line.begin_object()
        .member("event", "done")
        .member("datagrams_sent", status.datagrams_sent)
        .member("bytes_sent", status.bytes_sent)
        .member("datagrams_unsent", status.datagrams_unsent)
        .end_object();
    return line.text();
}

Result<void> TransmitLoop::run() {
    while (!stop_requested_) {
        MonotonicTime now = monotonic_now();
        if (phase_ != Phase::running) {
            rest(now);
            now = monotonic_now();
        }
        if (phase_ != Phase::running || was_short_ || now - looked_at_ >= kLookInterval) {
            looked_at_ = now;
            const Result<void> looked =
                on_status(publisher_.wait_change(seen_, milliseconds{0}), now);
            if (!looked) {
                return looked;
            }
        }
        if (phase_ == Phase::running) {
            const Result<bool> goes_on = turn(now);
            if (!goes_on) {
                return goes_on.error();
            }
            if (!*goes_on) {
                break;
            }
        }
        say_notices();
    }
    source_.stop(monotonic_now());
    say_notices();
    return {};
}

void TransmitLoop::rest(MonotonicTime now) {
    const MonotonicTime until = std::min<MonotonicTime>(source_.tend(now), now + kRestMost);
    publisher_.wait_change(seen_, std::chrono::ceil<milliseconds>(std::max(until, now) - now));
}

Result<void> TransmitLoop::on_status(const PublisherStatus& status, MonotonicTime now) {
    const bool is_news = status.state != seen_.state || status.version != seen_.version;
    seen_ = status;
    if (is_news) {
        const std::string line = state_line(status, json_, now);
        if (!line.empty()) {
            fmt::print("{}\n", line);
            std::fflush(stdout);
        }
    }
    say_trouble(status.last_error);
    switch (status.state) {
        case PublisherState::ended:
            return Error{ErrorCode::denied, status.last_error};
        case PublisherState::transmitting:
            if (std::exchange(phase_, Phase::running) == Phase::resting) {
                return source_.start(now);
            }
            return {};
        case PublisherState::starting:
            // Another data server takes over: the source is held, not stopped.
            if (phase_ == Phase::running) {
                phase_ = Phase::held;
            }
            return {};
        case PublisherState::connecting:
        case PublisherState::waiting:
        case PublisherState::stopped:
            if (std::exchange(phase_, Phase::resting) != Phase::resting) {
                source_.stop(now);
            }
            return {};
    }
    return {};
}

Result<bool> TransmitLoop::turn(MonotonicTime now) {
    batch_.clear();
    const Result<SourceStep> step = source_.fill(batch_, now);
    if (!step) {
        return step.error();
    }
    was_short_ = false;
    if (batch_.size() > 0) {
        const Result<void> published = publish();
        if (!published) {
            return published.error();
        }
    }
    if (step->has_ended) {
        return false;
    }
    if (!batch_.is_full()) {
        pause(step->next_at, step->wait_fd, monotonic_now());
    }
    return true;
}

Result<void> TransmitLoop::publish() {
    std::span<const std::span<const std::byte>> left = batch_.datagrams();
    const MonotonicTime give_up_at = monotonic_now() + kRetryFor;
    while (true) {
        const std::size_t sent = publisher_.publish(left);
        const Result<void> recorded = record_.append(left.first(sent));
        if (!recorded) {
            return recorded;
        }
        left = left.subspan(sent);
        if (left.empty()) {
            return {};
        }
        was_short_ = true;
        const MonotonicTime now = monotonic_now();
        const bool may_retry = publisher_.status().state == PublisherState::transmitting;
        if (!may_retry || now >= give_up_at) {
            return {};
        }
        pause(now + milliseconds{1}, -1, now);
    }
}

void TransmitLoop::say_notices() {
    const std::string notice = source_.take_notice();
    if (!notice.empty()) {
        log_warning(notice);
    }
}

void TransmitLoop::say_trouble(const std::string& trouble) {
    if (!trouble.empty() && trouble != trouble_) {
        log_warning(trouble);
    }
    trouble_ = trouble;
}

}  // namespace penstock
