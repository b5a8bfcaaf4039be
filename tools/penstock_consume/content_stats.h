#pragma once

#include "media/ts_packet.h"
#include "penstock_consume/sequence_tracker.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace penstock {

enum class ContentKind { unknown, opaque, penstock, mpegts, rtp };

/// What the content itself tells about its way here. Of opaque content: nothing but its size.
struct ContentFigures {
    ContentKind kind = ContentKind::unknown;
    std::uint64_t datagrams = 0;
    std::uint64_t bytes = 0;
    // Datagrams; of mpegts transport stream packets (by the continuity counters of each PID, which
    // count to 16: a gap of 16 does not show, and order is not told from loss).
    std::uint64_t lost = 0;
    std::uint64_t duplicates = 0;
    std::uint64_t reordered = 0;
    std::uint64_t corrupt = 0;  // penstock: fill that its sequence does not demand; mpegts: no sync
                                // or marked as broken
    // RFC 3550 section 6.4.1, of the content's own clock: send time, PCR, RTP timestamp.
    std::optional<double> jitter_us;
    std::optional<std::uint64_t> first_sequence;  // penstock and rtp
    std::optional<std::uint64_t> last_sequence;
};

/// RFC 3550 section 6.4.1: the smoothed deviation of the spacing at the receiver from that at the
/// sender.
class Jitter {
  public:
    void take(std::chrono::nanoseconds sent_at, std::chrono::nanoseconds received_at) noexcept;
    void restart() noexcept { transit_.reset(); }
    /// Microseconds; nullopt before the second datagram.
    [[nodiscard]] std::optional<double> microseconds() const noexcept;

  private:
    std::optional<std::chrono::nanoseconds> transit_;
    bool has_two_ = false;
    double mean_ns_ = 0;
};

/// Recognises content by its first datagrams and follows it. Pure. Thread: one.
class ContentStats {
  public:
    void take(std::span<const std::byte> payload, std::chrono::nanoseconds received_at);
    [[nodiscard]] ContentFigures figures() const;

  private:
    void recognise(std::span<const std::byte> payload);
    void take_penstock(std::span<const std::byte> payload, std::chrono::nanoseconds received_at);
    void take_ts(std::span<const std::byte> payload, std::chrono::nanoseconds received_at);
    void take_ts_packet(const TsHeader& header, std::chrono::nanoseconds received_at);
    void take_rtp(std::span<const std::byte> payload, std::chrono::nanoseconds received_at);

    struct PidState {
        bool has_begun = false;
        std::uint8_t continuity = 0;
        bool is_repeated = false;  // the one repeat that the standard allows has been seen
    };

    ContentFigures figures_;
    Jitter jitter_;
    SequenceTracker wide_{64};
    std::optional<std::uint64_t> run_;  // penstock
    SequenceTracker narrow_{16};
    std::optional<std::uint32_t> source_;     // RTP: SSRC
    std::optional<std::uint16_t> candidate_;  // RTP: next sequence that would confirm it
    std::uint32_t rtp_time_ = 0;              // RTP: last timestamp
    std::chrono::nanoseconds rtp_clock_{0};   // RTP: the same, counted on over wraps
    std::optional<std::uint16_t> clock_pid_;  // mpegts
    std::uint64_t pcr_ = 0;
    std::chrono::nanoseconds pcr_clock_{0};
    std::array<PidState, 8192> pids_{};
};

/// "rtp", "mpegts", "penstock" or "opaque", which is also what is not recognised yet.
const char* content_word(ContentKind kind) noexcept;

}  // namespace penstock
