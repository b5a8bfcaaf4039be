#pragma once

#include <bit>
#include <concepts>
#include <cstdint>

namespace penstock {

static_assert(std::endian::native == std::endian::little, "Penstock runs on little-endian CPUs");

/// Reverses the bytes of an unsigned integer.
template <std::unsigned_integral T>
constexpr T swap_bytes(T value) noexcept {
    if constexpr (sizeof(T) == 2) {
        return __builtin_bswap16(value);
    } else if constexpr (sizeof(T) == 4) {
        return __builtin_bswap32(value);
    } else {
        static_assert(sizeof(T) == 8);
        return __builtin_bswap64(value);
    }
}

/// An unsigned integer as it lies on the network (big-endian), without alignment. Compares as its
/// host value, with others of its kind and with plain integers.
template <std::unsigned_integral T>
class [[gnu::packed]] BigEndian {
  public:
    constexpr BigEndian() = default;
    constexpr BigEndian(T host) noexcept : raw_(swap_bytes(host)) {}    // NOLINT: implicit
    constexpr operator T() const noexcept { return swap_bytes(raw_); }  // NOLINT: implicit

    /// The stored bytes as a native integer: for checksums, which do not care for byte order.
    [[nodiscard]] constexpr T raw() const noexcept { return raw_; }
    static constexpr BigEndian from_raw(T raw) noexcept {
        BigEndian value;
        value.raw_ = raw;
        return value;
    }

  private:
    T raw_ = 0;
};

using Be16 = BigEndian<std::uint16_t>;
using Be32 = BigEndian<std::uint32_t>;
using Be64 = BigEndian<std::uint64_t>;

static_assert(sizeof(Be16) == 2 && sizeof(Be32) == 4 && sizeof(Be64) == 8);
static_assert(alignof(Be64) == 1);

}  // namespace penstock
