#include "penstock_publish/publish_options.h"

#include "base/options.h"
#include "base/tls_options.h"

#include <penstock/test_content.h>

#include <chrono>
#include <vector>

namespace penstock {
namespace {

constexpr std::uint64_t kGenerateBitsPerSecond = 20'000'000;

/// The options as they are given, before they are judged together.
struct Given {
    std::string input, udp, pcap, exec;
    bool generate = false;
    std::uint64_t rate = 0;
    std::uint64_t payload = 1316;
    std::size_t start = 0;
    std::chrono::nanoseconds close_after{0};
};

void declare(Options& options, Given& given, PublishOptions& result) {
    options.positional("stream", result.publisher.stream, "name of the stream");
    options.texts("presence",
                  result.publisher.presence,
                  "HOST:PORT",
                  "presence server; several are tried in turn (127.0.0.1:7400 if none is named)");
    options.text(
        "input",
        given.input,
        "FILE",
        "send a file, from its beginning with every START, or standard input (-), which is "
        "not read while nobody watches; MPEG-TS by its own clock, all else needs --rate");
    options.text("udp",
                 given.udp,
                 "ADDRESS:PORT",
                 "send what arrives at this local UDP port; thrown away while nobody watches");
    options.text(
        "pcap",
        given.pcap,
        "FILE",
        "send the UDP payloads of a capture, from its beginning with every START, in their "
        "original timing or at --rate");
    options.text(
        "exec",
        given.exec,
        "COMMAND",
        "run a command by /bin/sh only while somebody watches and send its standard output "
        "as it comes");
    options.flag("generate", given.generate, "send test content, 20Mbit unless --rate is given");
    options.bit_rate("rate", given.rate, "payload bits per second; 0: the content's own clock");
    options.number("payload",
                   given.payload,
                   kTestContentBytesMin,
                   Publisher::kPayloadBytesMax,
                   "bytes a datagram, of content that is not MPEG-TS");
    options.flag("loop", result.loop, "begin --input or --pcap again at its end");
    options.choice("start",
                   given.start,
                   {"publish", "demand"},
                   "transmit first at once, so that the first consumer finds content, or with the "
                   "first consumer");
    options.bit_rate("max-rate",
                     result.publisher.max_bits_per_second,
                     "declare that the stream never exceeds this; 0: not declared");
    options.duration("close-after",
                     given.close_after,
                     std::chrono::nanoseconds{0},
                     std::chrono::hours{24},
                     "transmit this long after the last consumer left; 0: presence decides");
    options.text("bind", result.publisher.bind_address, "ADDRESS", "send from this local address");
    add_caller_tls_options(options, result.publisher.tls);
    options.flag("insecure",
                 result.publisher.insecure,
                 "allow a plaintext connection to a presence server beyond loopback");
    options.text("record", result.record, "FILE", "append every payload that was sent to a file");
    options.flag("json,j", result.json, "print one JSON object a line");
}

/// Which of the five sources was chosen. Errors: none, or more than one.
Result<SourceKind> chosen_source(const Given& given, std::string& from) {
    std::vector<SourceKind> kinds;
    const auto add = [&](SourceKind kind, const std::string& text) {
        if (!text.empty()) {
            kinds.push_back(kind);
            from = text;
        }
    };
    add(SourceKind::input, given.input);
    add(SourceKind::udp, given.udp);
    add(SourceKind::pcap, given.pcap);
    add(SourceKind::exec, given.exec);
    if (given.generate) {
        kinds.push_back(SourceKind::generate);
    }
    if (kinds.size() != 1) {
        return Error{
            ErrorCode::invalid_argument,
            std::string(kinds.empty() ? "nothing to send" : "more than one thing to send") +
                "; give one of --input, --udp, --pcap, --exec and --generate"};
    }
    return kinds.front();
}

/// Errors: options that the chosen source does not know.
Result<void> judge(const Given& given, const PublishOptions& result) {
    const bool is_live = result.source == SourceKind::udp || result.source == SourceKind::exec;
    if (is_live && given.rate > 0) {
        return Error{ErrorCode::invalid_argument,
                     "--rate is for --input, --pcap and --generate; --udp and --exec send content "
                     "as it comes"};
    }
    const bool can_loop = result.source == SourceKind::pcap ||
                          (result.source == SourceKind::input && result.from != "-");
    if (result.loop && !can_loop) {
        return Error{ErrorCode::invalid_argument,
                     "--loop needs something with a beginning; give --input FILE or --pcap FILE"};
    }
    if (given.close_after > std::chrono::nanoseconds{0} &&
        given.close_after < std::chrono::milliseconds{1}) {
        return Error{ErrorCode::invalid_argument, "--close-after is counted in whole milliseconds"};
    }
    return {};
}

}  // namespace

Result<std::optional<PublishOptions>> parse_publish_options(int argc, const char* const* argv) {
    Options options("penstock-publish", "Sends a stream while somebody watches it.");
    PublishOptions result;
    Given given;
    declare(options, given, result);
    const Result<Options::Outcome> outcome = options.parse(argc, argv);
    if (!outcome) {
        return outcome.error();
    }
    if (*outcome == Options::Outcome::exit) {
        return std::optional<PublishOptions>{};
    }
    const Result<SourceKind> source = chosen_source(given, result.from);
    if (!source) {
        return source.error();
    }
    result.source = *source;
    const Result<void> judged = judge(given, result);
    if (!judged) {
        return judged.error();
    }
    if (result.publisher.presence.empty()) {
        result.publisher.presence = {"127.0.0.1:7400"};
    }
    result.publisher.start = given.start == 0 ? StartPolicy::publish : StartPolicy::demand;
    result.publisher.close_after =
        std::chrono::duration_cast<std::chrono::milliseconds>(given.close_after);
    result.bits_per_second = given.rate;
    if (result.source == SourceKind::generate && given.rate == 0) {
        result.bits_per_second = kGenerateBitsPerSecond;
    }
    result.payload_bytes = given.payload;
    return std::optional(result);
}

}  // namespace penstock
