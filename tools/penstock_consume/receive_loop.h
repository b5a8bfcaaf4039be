#pragma once

#include "base/clock.h"
#include "penstock_consume/consume_options.h"
#include "penstock_consume/content_stats.h"
#include "penstock_consume/sink.h"

#include <penstock/consumer.h>
#include <penstock/result.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace penstock {

/// Carries a stream from the consumer to the sink until --for, --count or a signal ends it.
class ReceiveLoop {
  public:
    /// All are borrowed for the loop's life. `stop_requested` is set by a signal handler.
    ReceiveLoop(Consumer& consumer,
                Sink& sink,
                const ConsumeOptions& options,
                const std::atomic<bool>& stop_requested);

    /// Errors: not_found (the stream did not come in time), unavailable (no presence), denied, and
    /// those of the sink.
    Result<void> run();

  private:
    [[nodiscard]] bool is_done(MonotonicTime now) const;
    [[nodiscard]] MonotonicTime next_event(MonotonicTime now) const;
    Result<void> turn(MonotonicTime now);
    Result<void> take(std::span<const Datagram> datagrams, MonotonicTime now);
    void note_gap(MonotonicTime now);
    void look(MonotonicTime now);
    void say_state(const ConsumerStatus& status);
    void report(MonotonicTime now, bool is_final);

    Consumer& consumer_;
    Sink& sink_;
    const ConsumeOptions& options_;
    const std::atomic<bool>& stop_requested_;

    MonotonicTime looked_at_{};
    MonotonicTime reported_at_;
    MonotonicTime report_at_;
    std::optional<MonotonicTime> content_at_;  // first content
    std::uint64_t taken_ = 0;                  // datagrams

    std::array<Datagram, 64> datagrams_{};
    ContentStats stats_;
    MonotonicTime newest_content_at_;
    std::chrono::nanoseconds longest_gap_{0};  // since reported_at_
    std::chrono::nanoseconds longest_gap_ever_{0};
    std::uint64_t reported_bytes_ = 0;
    std::uint64_t warned_overflows_ = 0;
    ConsumerStatus seen_;
    std::string trouble_;
};

/// The word for a state, as in the state lines.
const char* state_word(ConsumerState state) noexcept;
/// A state line, without its line end; "" while connecting.
std::string state_line(const ConsumerStatus& status, bool json);

/// One line of --stats.
struct StatsLine {
    bool is_final = false;
    double bits_per_second = 0;
    std::chrono::nanoseconds longest_gap{0};  // in which no content came, since the line before
    ConsumerStatus status;
    ContentFigures content;
};
std::string stats_line(const StatsLine& line, bool json);

}  // namespace penstock
