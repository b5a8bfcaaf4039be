#pragma once

#include "media/ts_packet.h"

#include <penstock/publisher.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <optional>
#include <span>
#include <vector>

namespace penstock {

/// A datagram to be and, where content has a clock of its own, when: since its first datagram.
struct PacedDatagram {
    std::chrono::nanoseconds at{0};
    std::size_t bytes = 0;
    std::array<std::byte, Publisher::kPayloadBytesMax> buffer{};

    [[nodiscard]] std::span<const std::byte> payload() const noexcept {
        return std::span(buffer).first(bytes);
    }
};

/// Cuts a run of bytes into datagrams. Pure. Thread: one at a time.
class Packetiser {
  public:
    virtual ~Packetiser() = default;
    Packetiser(const Packetiser&) = delete;
    Packetiser& operator=(const Packetiser&) = delete;

    virtual void push(std::span<const std::byte> bytes) = 0;
    /// The content ends, or begins anew: what is kept back goes out, in a short datagram if need
    /// be.
    virtual void finish() = 0;
    /// The content pauses: what is whole goes out now, in a short datagram if need be.
    void flush() {
        if (next_.bytes > 0) {
            queue_.push_back(next_);
            next_.bytes = 0;
        }
    }

    [[nodiscard]] bool empty() const noexcept { return queue_.empty(); }
    [[nodiscard]] const PacedDatagram& front() const noexcept { return queue_.front(); }
    void pop() { queue_.pop_front(); }

  protected:
    Packetiser() = default;
    /// Adds a piece to the datagram that is being made, which is done when it has `full` bytes.
    void append(std::span<const std::byte> piece, std::size_t full) {
        std::memcpy(next_.buffer.data() + next_.bytes, piece.data(), piece.size());
        next_.bytes += piece.size();
        if (next_.bytes == full) {
            flush();
        }
    }

    std::deque<PacedDatagram> queue_;
    PacedDatagram next_;
};

/// Datagrams of one size; the last may be shorter.
class OpaquePacketiser final : public Packetiser {
  public:
    /// `payload_bytes`: 1..Publisher::kPayloadBytesMax.
    explicit OpaquePacketiser(std::size_t payload_bytes) : payload_bytes_(payload_bytes) {}
    void push(std::span<const std::byte> bytes) override;
    void finish() override { flush(); }

  private:
    const std::size_t payload_bytes_;
};

/// Finds the packets of a transport stream in a run of bytes, also after bytes were lost or added.
class TsFramer {
  public:
    void push(std::span<const std::byte> bytes);
    /// The next whole packet; nullopt until more bytes are pushed. Valid until the next call.
    /// `at_end`: no more bytes come, so a sync byte need not be confirmed by the next.
    std::optional<std::span<const std::byte>> next(bool at_end);
    /// Bytes that belonged to no packet.
    [[nodiscard]] std::uint64_t skipped_bytes() const noexcept { return skipped_bytes_; }

  private:
    std::vector<std::byte> bytes_;
    std::size_t begin_ = 0;
    std::uint64_t skipped_bytes_ = 0;
    bool is_synchronised_ = false;
};

/// Whole transport stream packets, seven a datagram, without regard to their clock.
class TsPacketiser final : public Packetiser {
  public:
    void push(std::span<const std::byte> bytes) override;
    void finish() override;

  private:
    void take(bool at_end);

    TsFramer framer_;
};

/// The same, paced by the program clock (PCR) of the stream: packets between two clock references
/// lie evenly between their times (ISO/IEC 13818-1 section 2.4.2.2), so that each datagram leaves
/// when its first packet would have. Content is held back until the next reference is known.
class TsPacer final : public Packetiser {
  public:
    /// References farther apart than this are a jump of the clock, not a pause; the standard
    /// demands one each 100 ms.
    static constexpr std::chrono::milliseconds kReferenceGapMost{1000};
    /// With so many packets and no reference the clock is given up, and looked for on any PID.
    static constexpr std::size_t kSegmentPacketsMax = 32'768;

    void push(std::span<const std::byte> bytes) override;
    void finish() override;

  private:
    void take(bool at_end);
    void take_packet(std::span<const std::byte> packet);
    void on_reference(std::uint64_t pcr, bool is_discontinuity);
    /// Sends the segment out over `length`, and moves on by it.
    void release_segment(std::chrono::nanoseconds length);
    [[nodiscard]] std::size_t segment_packets() const noexcept {
        return segment_.size() / kTsPacketBytes;
    }

    TsFramer framer_;
    std::optional<std::uint16_t> clock_pid_;
    std::optional<std::uint64_t> reference_;  // the segment's first packet's PCR
    std::vector<std::byte> segment_;          // packets from that reference on
    std::chrono::nanoseconds at_{0};          // of the segment's first packet
    std::chrono::nanoseconds interval_{0};    // between packets, of the last good segment
};

}  // namespace penstock
