#include "penstock_consume/consume_options.h"

#include "base/options.h"
#include "base/tls_options.h"
#include "base/units.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>

namespace penstock {
namespace {

using std::chrono::milliseconds;

constexpr std::chrono::hours kLongest{24 * 365};

struct Given {
    std::string output, udp, history = "none", wait = "0s";
    bool stats = false;
    std::chrono::nanoseconds length{0};
    std::uint64_t count = 0;
};

void declare(Options& options, Given& given, ConsumeOptions& result) {
    options.positional("stream", result.consumer.stream, "name of the stream");
    options.texts("presence",
                  result.consumer.presence,
                  "HOST:PORT",
                  "presence server; several are tried in turn (127.0.0.1:7400 if none is named)");
    options.text("output",
                 given.output,
                 "FILE",
                 "write the content to a file, which is emptied first, or to standard output (-), "
                 "which is what happens without --udp and --stats");
    options.text(
        "udp", given.udp, "ADDRESS:PORT", "send the content on to this UDP port, of a player");
    options.flag("stats",
                 given.stats,
                 "print rate, loss and jitter; without --output and --udp write no content");
    options.text("history",
                 given.history,
                 "AMOUNT",
                 "begin with stored content: none, a number of packets (500) or a duration (2s)");
    options.text("wait",
                 given.wait,
                 "DURATION",
                 "how long to wait for a stream that is not there: 0s, 10s, forever");
    options.duration("for",
                     given.length,
                     std::chrono::nanoseconds{0},
                     kLongest,
                     "end this long after content began; 0: never");
    options.number("count",
                   given.count,
                   0,
                   std::numeric_limits<std::int64_t>::max(),
                   "end after this many datagrams; 0: never");
    options.text("bind", result.consumer.bind_address, "ADDRESS", "receive at this local address");
    add_caller_tls_options(options, result.consumer.tls);
    options.flag("insecure",
                 result.consumer.insecure,
                 "allow a plaintext connection to a presence server beyond loopback");
    options.flag("json,j", result.json, "print one JSON object a line");
    options.duration("report-interval",
                     result.report_interval,
                     milliseconds{10},
                     std::chrono::hours{1},
                     "time between the lines of --stats");
}

/// Where the content goes. Errors: more than one place.
Result<void> choose_output(const Given& given, ConsumeOptions& result) {
    if (!given.output.empty() && !given.udp.empty()) {
        return Error{ErrorCode::invalid_argument,
                     "more than one place for the content; give one of --output and --udp"};
    }
    result.stats = given.stats;
    if (!given.udp.empty()) {
        result.output = OutputKind::udp;
        result.to = given.udp;
    } else if (!given.output.empty()) {
        result.to = given.output;
    } else if (given.stats) {
        result.output = OutputKind::none;
    }
    return {};
}

}  // namespace

Result<HistoryRequest> parse_history(std::string_view text) {
    if (text == "none") {
        return HistoryRequest{};
    }
    std::uint32_t packets = 0;
    const char* const end = text.data() + text.size();
    const auto [parsed_to, error] = std::from_chars(text.data(), end, packets);
    if (error == std::errc{} && parsed_to == end) {
        return HistoryRequest{.packets = packets, .duration = milliseconds{0}};
    }
    const Result<std::chrono::nanoseconds> duration = parse_duration(text);
    const bool is_legal =
        duration && *duration > std::chrono::nanoseconds{0} && *duration <= kLongest;
    if (!is_legal) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("--history '{}' is neither none, nor a number of packets, nor a "
                                 "duration; give one like 500 or 2s",
                                 text)};
    }
    return HistoryRequest{.packets = 0, .duration = std::chrono::ceil<milliseconds>(*duration)};
}

Result<milliseconds> parse_wait(std::string_view text) {
    if (text == "forever") {
        return milliseconds::max();
    }
    const Result<std::chrono::nanoseconds> duration = parse_duration(text);
    const bool is_legal =
        duration && *duration >= std::chrono::nanoseconds{0} && *duration <= kLongest;
    if (!is_legal) {
        return Error{
            ErrorCode::invalid_argument,
            fmt::format("--wait '{}' is neither a duration nor forever; give one like 10s", text)};
    }
    return std::chrono::ceil<milliseconds>(*duration);
}

Result<std::optional<ConsumeOptions>> parse_consume_options(int argc, const char* const* argv) {
    Options options("penstock-consume", "Receives a stream.");
    ConsumeOptions result;
    Given given;
    declare(options, given, result);
    const Result<Options::Outcome> outcome = options.parse(argc, argv);
    if (!outcome) {
        return outcome.error();
    }
    if (*outcome == Options::Outcome::exit) {
        return std::optional<ConsumeOptions>{};
    }
    const Result<void> output = choose_output(given, result);
    if (!output) {
        return output.error();
    }
    const Result<HistoryRequest> history = parse_history(given.history);
    if (!history) {
        return history.error();
    }
    const Result<milliseconds> wait = parse_wait(given.wait);
    if (!wait) {
        return wait.error();
    }
    result.consumer.history = *history;
    result.consumer.wait = *wait;
    if (result.consumer.presence.empty()) {
        result.consumer.presence = {"127.0.0.1:7400"};
    }
    if (given.length > std::chrono::nanoseconds{0}) {
        result.length = given.length;
    }
    if (given.count > 0) {
        result.count = given.count;
    }
    return std::optional(result);
}

}  // namespace penstock
