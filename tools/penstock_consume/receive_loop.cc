#include "penstock_consume/receive_loop.h"

#include "base/json.h"
#include "base/log.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
namespace penstock {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLookInterval{5};
constexpr milliseconds kWaitMost{100};  // how late a signal may be noticed
// Where nobody minds, datagrams are gathered this long: a tenth of the system calls.
constexpr milliseconds kGather{5};
constexpr std::size_t kGatherBelow = 32;

template <typename T>
void optional_member(JsonWriter& json, std::string_view name, const std::optional<T>& value) {
    json.key(name);
    if (value) {
        json.value(*value);
    } else {
        json.null();
    }
}

std::string json_stats(const StatsLine& line) {
    JsonWriter json;
    json.begin_object()
        .member("event", "stats")
        .member("final", line.is_final)
        .member("state", state_word(line.status.state))
        .member("data_server", line.status.data_server)
        .member("datagrams", line.content.datagrams)
        .member("bytes", line.content.bytes)
        .member("bits_per_second", line.bits_per_second)
        .member("longest_gap_ms",
                std::chrono::duration<double, std::milli>(line.longest_gap).count())
        .member("content", content_word(line.content.kind))
        .member("lost", line.content.lost)
        .member("duplicates", line.content.duplicates)
        .member("reordered", line.content.reordered)
        .member("corrupt", line.content.corrupt);
    optional_member(json, "jitter_us", line.content.jitter_us);
    optional_member(json, "first_sequence", line.content.first_sequence);
    optional_member(json, "last_sequence", line.content.last_sequence);
    json.member("socket_overflows", line.status.socket_overflows)
        .member("strangers", line.status.strangers)
        .end_object();
    return json.text();
}

}  // namespace

const char* state_word(ConsumerState state) noexcept {
    switch (state) {
        case ConsumerState::connecting:
            return "connecting";
        case ConsumerState::waiting:
            return "waiting";
        case ConsumerState::joining:
            return "joining";
        case ConsumerState::receiving:
            return "receiving";
        case ConsumerState::ended:
            return "ended";
    }
    return "unknown";
}

std::string state_line(const ConsumerStatus& status, bool json) {
    if (status.state == ConsumerState::connecting) {
        return {};
    }
    if (json) {
        JsonWriter line;
        line.begin_object()
            .member("event", "state")
            .member("state", state_word(status.state))
            .member("version", status.version)
            .member("data_server", status.data_server)
            .end_object();
        return line.text();
    }
    std::string line = fmt::format("state {}", state_word(status.state));
    if (!status.data_server.empty()) {
        line += " data_server=" + status.data_server;
    }
    return line;
}

std::string stats_line(const StatsLine& line, bool json) {
    if (json) {
        return json_stats(line);
    }
    const ContentFigures& content = line.content;
    std::string text = fmt::format("{} {} {:.3f} Mbit/s datagrams={} bytes={} content={}",
                                   line.is_final ? "total" : "stats",
                                   state_word(line.status.state),
                                   line.bits_per_second / 1e6,
                                   content.datagrams,
                                   content.bytes,
                                   content_word(content.kind));
    if (content.kind != ContentKind::opaque && content.kind != ContentKind::unknown) {
        text += fmt::format(" lost={} duplicates={} reordered={} corrupt={}",
                            content.lost,
                            content.duplicates,
                            content.reordered,
                            content.corrupt);
    }
    if (content.jitter_us) {
        text += fmt::format(" jitter={:.0f}us", *content.jitter_us);
    }
    if (content.first_sequence && content.last_sequence) {
        text += fmt::format(" sequence={}..{}", *content.first_sequence, *content.last_sequence);
    }
    return text + fmt::format(" socket_overflows={} strangers={}",
                              line.status.socket_overflows,
                              line.status.strangers);
}

ReceiveLoop::ReceiveLoop(Consumer& consumer,
                         Sink& sink,
                         const ConsumeOptions& options,
                         const std::atomic<bool>& stop_requested)
    : consumer_(consumer),
      sink_(sink),
      options_(options),
      stop_requested_(stop_requested),
      reported_at_(monotonic_now()),
      report_at_(reported_at_ + options.report_interval) {}

Result<void> ReceiveLoop::run() {
    Result<void> result;
    for (MonotonicTime now = monotonic_now(); result && !is_done(now); now = monotonic_now()) {
        result = turn(now);
    }
    // Its own words first: the last lines tell of the end.
    consumer_.leave();
    ConsumerStatus status = consumer_.status();
    status.state = ConsumerState::ended;
    say_state(status);
    report(monotonic_now(), true);
    return result;
}

bool ReceiveLoop::is_done(MonotonicTime now) const {
    return stop_requested_ || (options_.count && taken_ >= *options_.count) ||
           (options_.length && content_at_ && now - *content_at_ >= *options_.length);
}

MonotonicTime ReceiveLoop::next_event(MonotonicTime now) const {
    MonotonicTime at = now + kWaitMost;
    if (options_.stats) {
        at = std::min(at, report_at_);
    }
    if (options_.length && content_at_) {
        at = std::min<MonotonicTime>(at, *content_at_ + *options_.length);
    }
    return at;
}

Result<void> ReceiveLoop::turn(MonotonicTime now) {
    const auto timeout = std::chrono::ceil<milliseconds>(std::max(next_event(now), now) - now);
    const Result<std::size_t> received = consumer_.receive(datagrams_, timeout);
    if (!received) {
        return received.error();
    }
    now = monotonic_now();
    if (*received > 0) {
        const Result<void> taken = take(std::span(datagrams_).first(*received), now);
        if (!taken) {
            return taken;
        }
    }
    if (now - looked_at_ >= kLookInterval) {
        look(now);
    }
    if (*received > 0 && *received < kGatherBelow && sink_.may_gather()) {
        const timespec length{.tv_sec = 0, .tv_nsec = std::chrono::nanoseconds{kGather}.count()};
        ::nanosleep(&length, nullptr);
    }
    return {};
}

Result<void> ReceiveLoop::take(std::span<const Datagram> datagrams, MonotonicTime now) {
    if (options_.count) {
        datagrams =
            datagrams.first(std::min<std::uint64_t>(datagrams.size(), *options_.count - taken_));
    }
    if (!content_at_) {
        content_at_ = now;
        newest_content_at_ = now;
        reported_at_ = now;
    }
    note_gap(now);
    newest_content_at_ = now;
    taken_ += datagrams.size();
    for (const Datagram& datagram : datagrams) {
        stats_.take(datagram.payload, datagram.received_at);
    }
    return sink_.write(datagrams);
}

/// One that has not ended counts as far as it has come.
void ReceiveLoop::note_gap(MonotonicTime now) {
    if (content_at_) {
        longest_gap_ = std::max<std::chrono::nanoseconds>(longest_gap_, now - newest_content_at_);
        longest_gap_ever_ = std::max(longest_gap_ever_, longest_gap_);
    }
}

void ReceiveLoop::look(MonotonicTime now) {
    looked_at_ = now;
    const ConsumerStatus status = consumer_.status();
    say_state(status);
    if (status.socket_overflows > warned_overflows_ && options_.output != OutputKind::none) {
        log_warning(fmt::format("{} datagrams were lost here so far: the output is too slow",
                                status.socket_overflows));
        // Said again when it has become twice as much: no line each time.
        warned_overflows_ = status.socket_overflows * 2;
    }
    if (options_.stats && now >= report_at_) {
        report_at_ = std::max<MonotonicTime>(report_at_ + options_.report_interval, now);
        report(now, false);
    }
}

void ReceiveLoop::say_state(const ConsumerStatus& status) {
    if (status.state != seen_.state || status.data_server != seen_.data_server) {
        const std::string line = state_line(status, options_.json);
        if (!line.empty()) {
            fmt::print(stderr, "{}\n", line);
        }
        seen_ = status;
    }
    const bool is_new = status.last_error != trouble_ && status.state != ConsumerState::ended;
    if (is_new && !status.last_error.empty()) {
        log_warning(status.last_error);
    }
    trouble_ = status.last_error;
}

void ReceiveLoop::report(MonotonicTime now, bool is_final) {
    const bool wanted = options_.stats || (is_final && options_.json);
    if (!wanted) {
        return;
    }
    note_gap(now);
    StatsLine line{.is_final = is_final,
                   .bits_per_second = 0,
                   .longest_gap = is_final ? longest_gap_ever_ : longest_gap_,
                   .status = consumer_.status(),
                   .content = stats_.figures()};
    const MonotonicTime since = is_final ? content_at_.value_or(now) : reported_at_;
    const std::uint64_t bytes = line.content.bytes - (is_final ? 0 : reported_bytes_);
    const std::chrono::duration<double> length = now - since;
    if (length.count() > 0) {
        line.bits_per_second = static_cast<double>(bytes) * 8 / length.count();
    }
    reported_at_ = now;
    reported_bytes_ = line.content.bytes;
    longest_gap_ = {};
    const bool content_on_stdout = options_.output == OutputKind::stream && options_.to == "-";
    std::FILE* const file = content_on_stdout ? stderr : stdout;
    fmt::print(file, "{}\n", stats_line(line, options_.json));
    std::fflush(file);
}

}  // namespace penstock
