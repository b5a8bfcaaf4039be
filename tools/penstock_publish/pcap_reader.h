#pragma once

#include <penstock/result.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace penstock {

/// A UDP payload of a capture.
struct CapturedDatagram {
    std::chrono::nanoseconds at{0};  // as stamped
    std::span<const std::byte> payload;
};

/// Reads a capture in the classic pcap format (both byte orders, microseconds and nanoseconds; not
/// pcapng): the UDP payloads of its Ethernet frames with IPv4 and at most two VLAN tags. All else
/// is counted and left out: fragments and frames that were cut when captured, too. Pure: bytes in.
/// Source: draft-ietf-opsawg-pcap sections 4 and 5; RFC 791, RFC 768.
class PcapReader {
  public:
    static constexpr std::uint32_t kFrameBytesMax = 262'144;  // what tcpdump calls the largest

    /// `file`: a whole capture, which the reader keeps.
    /// Errors: invalid_argument: not a capture of Ethernet frames.
    static Result<PcapReader> open(std::vector<std::byte> file);

    /// The next payload; nullopt at the end. Valid as long as the reader is.
    /// Errors: invalid_argument: a record that the format does not allow (its file is damaged).
    Result<std::optional<CapturedDatagram>> next();
    void rewind() noexcept;

    /// Frames that held no UDP payload for us, since the beginning.
    [[nodiscard]] std::uint64_t frames_left_out() const noexcept { return frames_left_out_; }

  private:
    PcapReader(std::vector<std::byte> file, bool is_swapped, bool is_nanoseconds)
        : file_(std::move(file)), is_swapped_(is_swapped), is_nanoseconds_(is_nanoseconds) {}

    [[nodiscard]] std::uint32_t number_at(std::size_t offset) const noexcept;

    std::vector<std::byte> file_;
    bool is_swapped_;
    bool is_nanoseconds_;
    std::size_t offset_ = 24;
    std::uint64_t frames_left_out_ = 0;
};

/// The UDP payload in an Ethernet frame; nullopt if there is none whole.
std::optional<std::span<const std::byte>> udp_payload_of(std::span<const std::byte> frame) noexcept;

}  // namespace penstock
