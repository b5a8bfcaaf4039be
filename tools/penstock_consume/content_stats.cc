#include "penstock_consume/content_stats.h"

#include <penstock/test_content.h>

#include <cmath>

namespace penstock {
namespace {

constexpr std::size_t kRtpBytesMin = 12;
constexpr std::uint64_t kRtpVideoHertz = 90'000;
constexpr std::uint64_t kRtpAudioHertz = 8'000;
// A clock that goes on by more than this between two references has jumped.
constexpr std::chrono::seconds kClockGapMost{1};

struct RtpHeader {
    std::uint8_t payload_type = 0;
    std::uint16_t sequence = 0;
    std::uint32_t timestamp = 0;
    std::uint32_t source = 0;
};

std::uint32_t number(std::span<const std::byte> bytes, std::size_t at, std::size_t size) noexcept {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
        value = value << 8U | std::to_integer<std::uint32_t>(bytes[at + i]);
    }
    return value;
}

/// RFC 3550 section 5.1; payload types 72..76 would be RTCP (RFC 5761 section 4).
std::optional<RtpHeader> read_rtp(std::span<const std::byte> payload) noexcept {
    if (payload.size() < kRtpBytesMin || number(payload, 0, 1) >> 6U != 2) {
        return std::nullopt;
    }
    const auto type = static_cast<std::uint8_t>(number(payload, 1, 1) & 0x7fU);
    if (type >= 72 && type <= 76) {
        return std::nullopt;
    }
    return RtpHeader{.payload_type = type,
                     .sequence = static_cast<std::uint16_t>(number(payload, 2, 2)),
                     .timestamp = number(payload, 4, 4),
                     .source = number(payload, 8, 4)};
}

/// The timestamps' clock. Static audio types have 8 kHz but for a few (RFC 3551 table 4); dynamic
/// types do not say, and video's 90 kHz is the best guess.
std::uint64_t rtp_hertz(std::uint8_t payload_type) noexcept {
    return payload_type <= 23 ? kRtpAudioHertz : kRtpVideoHertz;
}

bool is_ts_datagram(std::span<const std::byte> payload) noexcept {
    if (payload.empty() || payload.size() % kTsPacketBytes != 0) {
        return false;
    }
    for (std::size_t at = 0; at < payload.size(); at += kTsPacketBytes) {
        if (payload[at] != kTsSync) {
            return false;
        }
    }
    return true;
}

}  // namespace

const char* content_word(ContentKind kind) noexcept {
    switch (kind) {
        case ContentKind::penstock:
            return "penstock";
        case ContentKind::mpegts:
            return "mpegts";
        case ContentKind::rtp:
            return "rtp";
        case ContentKind::unknown:
        case ContentKind::opaque:
            return "opaque";
    }
    return "opaque";
}

void Jitter::take(std::chrono::nanoseconds sent_at, std::chrono::nanoseconds received_at) noexcept {
    const std::chrono::nanoseconds transit = received_at - sent_at;
    if (transit_) {
        const double difference = std::abs(static_cast<double>((transit - *transit_).count()));
        mean_ns_ += (difference - mean_ns_) / 16;
        has_two_ = true;
    }
    transit_ = transit;
}

std::optional<double> Jitter::microseconds() const noexcept {
    return has_two_ ? std::optional(mean_ns_ / 1000) : std::nullopt;
}

void ContentStats::take(std::span<const std::byte> payload, std::chrono::nanoseconds received_at) {
    ++figures_.datagrams;
    figures_.bytes += payload.size();
    if (figures_.kind == ContentKind::unknown) {
        recognise(payload);
    }
    switch (figures_.kind) {
        case ContentKind::penstock:
            take_penstock(payload, received_at);
            break;
        case ContentKind::mpegts:
            take_ts(payload, received_at);
            break;
        case ContentKind::rtp:
            take_rtp(payload, received_at);
            break;
        case ContentKind::unknown:
        case ContentKind::opaque:
            break;
    }
}

void ContentStats::recognise(std::span<const std::byte> payload) {
    const std::optional<RtpHeader> rtp = read_rtp(payload);
    if (read_test_content(payload)) {
        figures_.kind = ContentKind::penstock;
    } else if (is_ts_datagram(payload)) {
        figures_.kind = ContentKind::mpegts;
    } else if (!rtp) {
        figures_.kind = ContentKind::opaque;
    } else if (candidate_) {
        // Two bits of version say little: the next datagram has to confirm the sequence.
        const auto ahead = static_cast<std::uint16_t>(rtp->sequence - *candidate_);
        const bool is_rtp = rtp->source == source_ && ahead < SequenceTracker::kJumpMost;
        figures_.kind = is_rtp ? ContentKind::rtp : ContentKind::opaque;
        if (is_rtp) {
            narrow_.take(static_cast<std::uint16_t>(*candidate_ - 1));
            rtp_time_ = rtp->timestamp;
        }
    } else {
        source_ = rtp->source;
        candidate_ = static_cast<std::uint16_t>(rtp->sequence + 1);
    }
}

void ContentStats::take_penstock(std::span<const std::byte> payload,
                                 std::chrono::nanoseconds received_at) {
    const std::optional<TestContentHead> head = read_test_content(payload);
    if (!head || !test_content_is_intact(payload)) {
        ++figures_.corrupt;
        return;
    }
    if (run_ != head->run) {
        run_ = head->run;
        wide_.restart();
        jitter_.restart();
    }
    wide_.take(head->sequence);
    jitter_.take(std::chrono::nanoseconds{static_cast<std::int64_t>(head->sent_at_unix_ns)},
                 received_at);
}

void ContentStats::take_ts(std::span<const std::byte> payload,
                           std::chrono::nanoseconds received_at) {
    for (; payload.size() >= kTsPacketBytes; payload = payload.subspan(kTsPacketBytes)) {
        const std::optional<TsHeader> header = parse_ts_packet(payload.first(kTsPacketBytes));
        if (!header || header->is_broken) {
            ++figures_.corrupt;
        } else if (header->pid != kTsNullPid) {
            take_ts_packet(*header, received_at);
        }
    }
    if (!payload.empty()) {
        ++figures_.corrupt;
    }
}

void ContentStats::take_ts_packet(const TsHeader& header, std::chrono::nanoseconds received_at) {
    if (header.pcr && (!clock_pid_ || *clock_pid_ == header.pid)) {
        const auto ticks = pcr_distance(clock_pid_ ? pcr_ : *header.pcr, *header.pcr);
        const std::chrono::nanoseconds gap{static_cast<std::int64_t>(ticks * 1000 / 27)};
        if (header.is_discontinuity || gap > kClockGapMost) {
            jitter_.restart();
        }
        pcr_clock_ += gap;
        pcr_ = *header.pcr;
        clock_pid_ = header.pid;
        jitter_.take(pcr_clock_, received_at);
    }
    PidState& state = pids_[header.pid];
    const auto expected =
        static_cast<std::uint8_t>((state.continuity + (header.has_payload ? 1 : 0)) & 0x0fU);
    const bool is_free = !state.has_begun || header.is_discontinuity;
    // ISO/IEC 13818-1 section 2.4.3.3: a packet may be sent twice, its counter is then the same.
    const bool is_repeat = !is_free && header.has_payload &&
                           header.continuity == state.continuity && !state.is_repeated;
    if (is_repeat) {
        ++figures_.duplicates;
    } else if (!is_free) {
        figures_.lost += (header.continuity - expected) & 0x0fU;
    }
    state = {.has_begun = true, .continuity = header.continuity, .is_repeated = is_repeat};
}

void ContentStats::take_rtp(std::span<const std::byte> payload,
                            std::chrono::nanoseconds received_at) {
    const std::optional<RtpHeader> rtp = read_rtp(payload);
    if (!rtp) {
        return;  // RTCP on the same port, or no RTP at all: not part of the sequence
    }
    if (rtp->source != source_) {
        source_ = rtp->source;
        narrow_.restart();
        jitter_.restart();
        rtp_time_ = rtp->timestamp;
    }
    narrow_.take(rtp->sequence);
    // Signed: timestamps go back where frames are sent in decoding order.
    const auto ticks = static_cast<std::int32_t>(rtp->timestamp - rtp_time_);
    rtp_time_ = rtp->timestamp;
    const auto hertz = static_cast<std::int64_t>(rtp_hertz(rtp->payload_type));
    rtp_clock_ += std::chrono::nanoseconds{std::int64_t{ticks} * 1'000'000'000 / hertz};
    jitter_.take(rtp_clock_, received_at);
}

ContentFigures ContentStats::figures() const {
    ContentFigures figures = figures_;
    figures.jitter_us = jitter_.microseconds();
    if (figures.kind == ContentKind::penstock || figures.kind == ContentKind::rtp) {
        const SequenceTracker& tracker = figures.kind == ContentKind::penstock ? wide_ : narrow_;
        figures.lost = tracker.lost();
        figures.duplicates = tracker.duplicates();
        figures.reordered = tracker.reordered();
        figures.first_sequence = tracker.first();
        figures.last_sequence = tracker.last();
    }
    return figures;
}

}  // namespace penstock
