#include "penstock_publish/packetiser.h"

#include <algorithm>

namespace penstock {
namespace {

std::chrono::nanoseconds pcr_duration(std::uint64_t ticks) noexcept {
    return std::chrono::nanoseconds{
        static_cast<std::int64_t>(ticks * 1000 / (kPcrHertz / 1'000'000))};
}

}  // namespace

void OpaquePacketiser::push(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const std::size_t taken = std::min(bytes.size(), payload_bytes_ - next_.bytes);
        append(bytes.first(taken), payload_bytes_);
        bytes = bytes.subspan(taken);
    }
}

void TsFramer::push(std::span<const std::byte> bytes) {
    // What was taken goes first, so that the buffer stays as small as what is waiting.
    bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(begin_));
    begin_ = 0;
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

std::optional<std::span<const std::byte>> TsFramer::next(bool at_end) {
    while (bytes_.size() - begin_ >= kTsPacketBytes) {
        const std::span<const std::byte> rest = std::span(bytes_).subspan(begin_);
        if (rest[0] != kTsSync) {
            is_synchronised_ = false;
        } else if (is_synchronised_ || at_end) {
            is_synchronised_ = true;
            begin_ += kTsPacketBytes;
            return rest.first(kTsPacketBytes);
        } else if (rest.size() <= kTsPacketBytes) {
            return std::nullopt;  // a sync byte, or a payload byte that looks like one
        } else if (rest[kTsPacketBytes] == kTsSync) {
            is_synchronised_ = true;
            continue;
        }
        ++begin_;
        ++skipped_bytes_;
    }
    if (at_end) {
        skipped_bytes_ += bytes_.size() - begin_;
        begin_ = bytes_.size();
        is_synchronised_ = false;
    }
    return std::nullopt;
}

void TsPacketiser::push(std::span<const std::byte> bytes) {
    framer_.push(bytes);
    take(false);
}

void TsPacketiser::take(bool at_end) {
    while (const auto packet = framer_.next(at_end)) {
        append(*packet, kTsDatagramBytes);
    }
}

void TsPacketiser::finish() {
    take(true);
    flush();
}

void TsPacer::push(std::span<const std::byte> bytes) {
    framer_.push(bytes);
    take(false);
}

void TsPacer::take(bool at_end) {
    while (const auto packet = framer_.next(at_end)) {
        take_packet(*packet);
    }
}

void TsPacer::take_packet(std::span<const std::byte> packet) {
    const std::optional<TsHeader> header = parse_ts_packet(packet);
    if (header && header->pcr && !header->is_broken &&
        (!clock_pid_ || *clock_pid_ == header->pid)) {
        clock_pid_ = header->pid;
        on_reference(*header->pcr, header->is_discontinuity);
    }
    segment_.insert(segment_.end(), packet.begin(), packet.end());
    if (segment_packets() >= kSegmentPacketsMax) {
        release_segment(interval_ * static_cast<std::int64_t>(segment_packets()));
        clock_pid_.reset();
        reference_.reset();
    }
}

void TsPacer::on_reference(std::uint64_t pcr, bool is_discontinuity) {
    const auto packets = static_cast<std::int64_t>(segment_packets());
    if (!reference_) {
        // What came before the first reference has no time of its own: as fast as what follows is
        // not known yet, so at once.
        release_segment(interval_ * packets);
    } else {
        const std::chrono::nanoseconds length = pcr_duration(pcr_distance(*reference_, pcr));
        const bool is_jump = is_discontinuity || length > kReferenceGapMost || packets == 0;
        if (!is_jump) {
            interval_ = length / packets;
        }
        release_segment(is_jump ? interval_ * packets : length);
    }
    reference_ = pcr;
}

void TsPacer::release_segment(std::chrono::nanoseconds length) {
    const auto packets = static_cast<std::int64_t>(segment_packets());
    std::span<const std::byte> left = segment_;
    for (std::int64_t i = 0; i < packets; ++i) {
        if (next_.bytes == 0) {
            next_.at = at_ + length * i / packets;
        }
        append(left.first(kTsPacketBytes), kTsDatagramBytes);
        left = left.subspan(kTsPacketBytes);
    }
    segment_.clear();
    at_ += length;
}

void TsPacer::finish() {
    take(true);
    release_segment(interval_ * static_cast<std::int64_t>(segment_packets()));
    reference_.reset();  // content that begins anew has a clock that begins anew
    flush();
}

}  // namespace penstock
