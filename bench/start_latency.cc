// How long after a consumer's request START reaches a publisher that has been waiting quietly.
//
// The publishers wait in processes of their own, as they do in real use: a process with nothing to
// do for seconds is the case that is measured. A sample is taken from the moment the consumer's
// request is handed to the network to the moment the publisher's library has START, both on this
// host's CLOCK_MONOTONIC; presence and a data server are whatever --presence names.
#include "base/json.h"
#include "base/options.h"
#include "base/tls_options.h"
#include "base/unique_fd.h"
#include "base/units.h"

#include <penstock/consumer.h>
#include <penstock/publisher.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <fcntl.h>
#include <memory>
#include <poll.h>
#include <string>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace penstock {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr const char* kProgram = "penstock-bench-start";
constexpr milliseconds kPatience{10'000};  // for anything to happen at all
constexpr milliseconds kCloseAfter{100};

struct BenchOptions {
    std::vector<std::string> presence;
    TlsFiles tls;  // {}: plaintext
    bool insecure = false;
    std::uint64_t samples = 100;
    std::uint64_t parallel = 50;
    std::chrono::nanoseconds idle = std::chrono::seconds{10};
    bool quick = false;
    std::string json;
};

/// What a publisher's process tells of each change of its state. Smaller than PIPE_BUF: written
/// and read whole.
struct StateRecord {
    PublisherState state;
    std::uint64_t version;
    Clock::time_point desired_at;
};

[[noreturn]] void run_publisher(const BenchOptions& options, const std::string& stream, int pipe) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    PublisherOptions publishing;
    publishing.presence = options.presence;
    publishing.tls = options.tls;
    publishing.insecure = options.insecure;
    publishing.stream = stream;
    publishing.start = StartPolicy::demand;
    publishing.close_after = kCloseAfter;
    const auto publisher = Publisher::open(publishing);
    if (!publisher) {
        ::_exit(fail(kProgram, publisher.error()));
    }
    PublisherStatus status;
    while (true) {
        status = (*publisher)->wait_change(status, milliseconds::max());
        const StateRecord record{status.state, status.version, status.desired_at};
        if (::write(pipe, &record, sizeof(record)) != sizeof(record)) {
            ::_exit(0);  // the benchmark is over
        }
    }
}

/// One publisher in its process, seen from here.
class WaitingPublisher {
  public:
    static Result<WaitingPublisher> start(const BenchOptions& options, const std::string& stream) {
        std::array<int, 2> ends{};
        if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
            return Error{ErrorCode::system, "no pipe; raise `ulimit -n`"};
        }
        UniqueFd read_end(ends[0]);
        const UniqueFd write_end(ends[1]);
        const pid_t pid = ::fork();
        if (pid < 0) {
            return Error{ErrorCode::system, "no process; lower --parallel"};
        }
        if (pid == 0) {
            run_publisher(options, stream, write_end.get());
        }
        return WaitingPublisher(stream, pid, std::move(read_end));
    }
    WaitingPublisher(WaitingPublisher&& other) noexcept
        : stream_(std::move(other.stream_)),
          pid_(std::exchange(other.pid_, 0)),
          pipe_(std::move(other.pipe_)),
          newest_(other.newest_) {}
    ~WaitingPublisher() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
        }
    }

    /// Reads on until `wanted` is said of a state; that one. Errors: timed_out, unavailable.
    template <typename Wanted>
    Result<StateRecord> wait_for(Wanted wanted, Clock::time_point until) {
        while (true) {
            const auto left = std::chrono::ceil<milliseconds>(until - Clock::now());
            pollfd polled{.fd = pipe_.get(), .events = POLLIN, .revents = 0};
            if (left.count() <= 0 || ::poll(&polled, 1, static_cast<int>(left.count())) == 0) {
                return Error{ErrorCode::timed_out,
                             fmt::format("the publisher of '{}' was not told in time; check that "
                                         "presence has a data server: penstockctl server list",
                                         stream_)};
            }
            StateRecord record{};
            if (::read(pipe_.get(), &record, sizeof(record)) != sizeof(record)) {
                return Error{ErrorCode::unavailable, "a publisher process has ended"};
            }
            newest_ = record;
            if (wanted(record)) {
                return record;
            }
        }
    }
    /// Waits until it has been told to WAIT and was left alone for `idle`.
    Result<void> be_idle(std::chrono::nanoseconds idle) {
        while (newest_.state != PublisherState::waiting) {
            const auto told = wait_for(
                [](const StateRecord& record) { return record.state == PublisherState::waiting; },
                Clock::now() + kPatience);
            if (!told) {
                return told.error();
            }
        }
        const Clock::time_point until = newest_.desired_at + idle;
        while (Clock::now() < until) {
            const auto left = std::chrono::ceil<milliseconds>(until - Clock::now());
            pollfd polled{.fd = pipe_.get(), .events = POLLIN, .revents = 0};
            if (::poll(&polled, 1, static_cast<int>(left.count())) > 0) {
                return Error{ErrorCode::unavailable,
                             fmt::format("'{}' was not left waiting; use a presence of its own for "
                                         "this benchmark",
                                         stream_)};
            }
        }
        return {};
    }

    [[nodiscard]] const std::string& stream() const noexcept { return stream_; }
    [[nodiscard]] const StateRecord& newest() const noexcept { return newest_; }

  private:
    WaitingPublisher(std::string stream, pid_t pid, UniqueFd pipe)
        : stream_(std::move(stream)), pid_(pid), pipe_(std::move(pipe)) {}

    std::string stream_;
    pid_t pid_;
    UniqueFd pipe_;
    StateRecord newest_{};
};

struct Sample {
    double from_request_ms = 0;
    double from_open_ms = 0;  // the connection to presence included
};

double milliseconds_between(Clock::time_point from, Clock::time_point to) {
    return std::chrono::duration<double, std::milli>(to - from).count();
}

Result<Sample> take_sample(const BenchOptions& options, WaitingPublisher& publisher) {
    const Result<void> idle = publisher.be_idle(options.idle);
    if (!idle) {
        return idle.error();
    }
    const std::uint64_t version = publisher.newest().version;
    ConsumerOptions consuming;
    consuming.presence = options.presence;
    consuming.tls = options.tls;
    consuming.insecure = options.insecure;
    consuming.stream = publisher.stream();
    consuming.wait = kPatience;
    const Clock::time_point opened_at = Clock::now();
    const auto consumer = Consumer::open(consuming);
    if (!consumer) {
        return consumer.error();
    }
    const auto started = publisher.wait_for(
        [version](const StateRecord& record) {
            return record.version > version && (record.state == PublisherState::starting ||
                                                record.state == PublisherState::transmitting);
        },
        opened_at + kPatience);
    if (!started) {
        return started.error();
    }
    const Clock::time_point requested_at = (*consumer)->status().requested_at;
    return Sample{milliseconds_between(requested_at, started->desired_at),
                  milliseconds_between(opened_at, started->desired_at)};
}

/// Nearest rank: of 100 values, p99 is the second largest.
double percentile(std::vector<double> values, double share) {
    std::sort(values.begin(), values.end());
    const auto rank = static_cast<std::size_t>(share * static_cast<double>(values.size()) + 0.9999);
    return values[std::clamp<std::size_t>(rank, 1, values.size()) - 1];
}

void add_percentiles(JsonWriter& json, const std::vector<double>& values) {
    json.begin_object()
        .member("p50_ms", percentile(values, 0.50))
        .member("p90_ms", percentile(values, 0.90))
        .member("p99_ms", percentile(values, 0.99))
        .member("max_ms", percentile(values, 1.0))
        .end_object();
}

std::string json_report(const BenchOptions& options,
                        const std::vector<double>& from_request,
                        const std::vector<double>& from_open) {
    JsonWriter json;
    json.begin_object()
        .member("benchmark", "start_latency")
        .member("samples", from_request.size())
        .member("idle_ms", std::chrono::duration_cast<milliseconds>(options.idle).count())
        .member("parallel", options.parallel);
    json.key("from_request");
    add_percentiles(json, from_request);
    json.key("from_open");
    add_percentiles(json, from_open);
    json.key("samples_ms").begin_array();
    for (const double sample : from_request) {
        json.value(sample);
    }
    json.end_array().end_object();
    return json.text();
}

Result<void> report(const BenchOptions& options, const std::vector<Sample>& samples) {
    std::vector<double> from_request;
    std::vector<double> from_open;
    for (const Sample& sample : samples) {
        from_request.push_back(sample.from_request_ms);
        from_open.push_back(sample.from_open_ms);
    }
    fmt::print("start latency, {} samples, each publisher idle for {} or more\n",
               samples.size(),
               format_duration(options.idle));
    const auto line = [](const char* what, const std::vector<double>& values) {
        fmt::print("{:<34} p50 {:.3f} ms  p90 {:.3f} ms  p99 {:.3f} ms  max {:.3f} ms\n",
                   what,
                   percentile(values, 0.50),
                   percentile(values, 0.90),
                   percentile(values, 0.99),
                   percentile(values, 1.0));
    };
    line("consumer's request to START", from_request);
    line("the same with its connection", from_open);
    if (options.json.empty()) {
        return {};
    }
    std::FILE* const file = std::fopen(options.json.c_str(), "we");
    if (file == nullptr) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("cannot write '{}'; give --json a file in a directory of yours",
                                 options.json)};
    }
    fmt::print(file, "{}\n", json_report(options, from_request, from_open));
    return std::fclose(file) == 0
               ? Result<void>{}
               : Error{ErrorCode::system, fmt::format("cannot write '{}'", options.json)};
}

Result<void> run(const BenchOptions& options) {
    // All processes first: after a thread was started (the first consumer's) none may be forked.
    std::vector<WaitingPublisher> publishers;
    publishers.reserve(options.parallel);
    for (std::uint64_t i = 0; i < options.parallel; ++i) {
        const std::string stream = fmt::format("start-latency-{}-{}", ::getpid(), i);
        auto publisher = WaitingPublisher::start(options, stream);
        if (!publisher) {
            return publisher.error();
        }
        publishers.push_back(std::move(publisher.value()));
    }
    std::vector<Sample> samples;
    while (samples.size() < options.samples) {
        const auto sample = take_sample(options, publishers[samples.size() % publishers.size()]);
        if (!sample) {
            return sample.error();
        }
        samples.push_back(*sample);
    }
    return report(options, samples);
}

Result<Options::Outcome> parse(int argc, const char* const* argv, BenchOptions& bench) {
    Options options(kProgram, "Measures how fast START reaches a publisher that waits.");
    options.texts("presence",
                  bench.presence,
                  "HOST:PORT",
                  "presence server with a data server (127.0.0.1:7400 if none is named)");
    add_caller_tls_options(options, bench.tls);
    options.flag("insecure", bench.insecure, "allow a plaintext connection beyond loopback");
    options.number("samples", bench.samples, 1, 100'000, "how many to take");
    options.number("parallel", bench.parallel, 1, 500, "publishers that wait at the same time");
    options.duration("idle",
                     bench.idle,
                     std::chrono::nanoseconds{0},
                     std::chrono::hours{1},
                     "how long each has waited before its sample");
    options.flag("quick", bench.quick, "10 samples of 10 publishers after 1s");
    options.text("json", bench.json, "FILE", "write the result there, too");
    Result<Options::Outcome> outcome = options.parse(argc, argv);
    if (outcome && bench.quick) {
        bench.samples = bench.parallel = 10;
        bench.idle = std::chrono::seconds{1};
    }
    if (bench.presence.empty()) {
        bench.presence = {"127.0.0.1:7400"};
    }
    bench.parallel = std::min(bench.parallel, bench.samples);
    return outcome;
}

int run_program(int argc, const char* const* argv) {
    BenchOptions options;
    const auto outcome = parse(argc, argv, options);
    if (!outcome) {
        return fail(kProgram, outcome.error());
    }
    if (*outcome == Options::Outcome::exit) {
        return 0;
    }
    const Result<void> done = run(options);
    return done ? 0 : fail(kProgram, done.error());
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) {
    try {
        return penstock::run_program(argc, argv);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "penstock-bench-start: %s\n", error.what());
        return 1;
    }
}
