#pragma once

#include <penstock/result.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace penstock {

/// "250us", "20ms", "2s", "5m", "1h". A unit is required; 0 may go without.
Result<std::chrono::nanoseconds> parse_duration(std::string_view text);
/// "512B", "64KiB", "256MiB", "2GiB". A unit is required; 0 may go without.
Result<std::uint64_t> parse_bytes(std::string_view text);
/// "800bit", "20kbit", "20Mbit", "10Gbit": per second, powers of 1000. A unit is required; 0 may go
/// without.
Result<std::uint64_t> parse_bit_rate(std::string_view text);

std::string format_duration(std::chrono::nanoseconds duration);  // "1.5s", "20ms": shortest exact
std::string format_bytes(std::uint64_t bytes);                   // "64KiB": exact
std::string format_bit_rate(std::uint64_t bits_per_second);      // "20Mbit": exact

}  // namespace penstock
