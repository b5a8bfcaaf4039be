#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace penstock {

// MPEG transport stream packets, ISO/IEC 13818-1 (ITU-T H.222.0) section 2.4.3.

inline constexpr std::size_t kTsPacketBytes = 188;
inline constexpr std::size_t kTsPacketsPerDatagram = 7;  // 1316 bytes: the custom of the field
inline constexpr std::size_t kTsDatagramBytes = kTsPacketBytes * kTsPacketsPerDatagram;
inline constexpr std::byte kTsSync{0x47};
inline constexpr std::uint16_t kTsNullPid = 0x1fff;
inline constexpr std::uint64_t kPcrHertz = 27'000'000;
inline constexpr std::uint64_t kPcrModulus = (std::uint64_t{1} << 33U) * 300;

struct TsHeader {
    std::uint16_t pid = 0;
    std::uint8_t continuity = 0;  // 0..15, rises with each packet of the PID that has a payload
    bool has_payload = false;
    bool is_broken = false;            // transport_error_indicator
    bool is_discontinuity = false;     // the clock or the continuity counter begins anew here
    std::optional<std::uint64_t> pcr;  // program clock, 27 MHz, below kPcrModulus
};

/// The header of one packet. `packet`: kTsPacketBytes bytes.
/// Returns: nullopt without the sync byte. An adaptation field that would leave the packet is taken
///          as absent.
std::optional<TsHeader> parse_ts_packet(std::span<const std::byte> packet) noexcept;

/// Where packets begin: the first offset below kTsPacketBytes at which a sync byte stands at every
/// packet's beginning, of `packets` packets or as many as there are, at least 2 (or a single packet
/// that fills `bytes`).
std::optional<std::size_t> find_ts_sync(std::span<const std::byte> bytes,
                                        std::size_t packets) noexcept;

/// Time from `earlier` to `later` on a clock that wraps, in 27 MHz ticks.
constexpr std::uint64_t pcr_distance(std::uint64_t earlier, std::uint64_t later) noexcept {
    return later >= earlier ? later - earlier : later + kPcrModulus - earlier;
}

}  // namespace penstock
