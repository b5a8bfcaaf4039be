#pragma once

#include <penstock/consumer.h>
#include <penstock/result.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace penstock {

enum class OutputKind { stream, udp, none };

/// What `penstock-consume` is to do, judged as a whole.
struct ConsumeOptions {
    ConsumerOptions consumer;
    OutputKind output = OutputKind::stream;
    std::string to = "-";                            // file or "-"; ADDRESS:PORT
    std::optional<std::chrono::nanoseconds> length;  // from the first content
    std::optional<std::uint64_t> count;              // datagrams
    std::chrono::nanoseconds report_interval{std::chrono::seconds{1}};
    bool stats = false;  // a line every report_interval, and a last one
    bool json = false;
};

/// Errors: invalid_argument, one line. nullopt after --help or --version.
Result<std::optional<ConsumeOptions>> parse_consume_options(int argc, const char* const* argv);

/// "none", a number of packets, or a duration with its unit.
Result<HistoryRequest> parse_history(std::string_view text);
/// A duration with its unit, or "forever", which is milliseconds::max().
Result<std::chrono::milliseconds> parse_wait(std::string_view text);

}  // namespace penstock
