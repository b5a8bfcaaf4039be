#pragma once

#include <rte_ip.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace penstock {

/// Ones'-complement sums of 16-bit words as they lie in memory. The sum does not care for byte
/// order (RFC 1071 section 2 B), so nothing here swaps bytes; sums are only ever compared with, and
/// stored as, raw words. 0x0000 and 0xffff are the same number: zero.
/// Both halves added to each other: the upper one then has their sum, with the carry of the lower.
inline std::uint16_t fold_sum(std::uint32_t sum) noexcept {
    return static_cast<std::uint16_t>((sum + std::rotl(sum, 16)) >> 16U);
}

/// The same of a sum of 32-bit words.
inline std::uint16_t fold_sum(std::uint64_t sum) noexcept {
    return fold_sum(static_cast<std::uint32_t>((sum + std::rotl(sum, 32)) >> 32U));
}

inline constexpr std::uint64_t kZeroSum = 0xffff;
/// Whether a sum folds to 0xffff, or is 0: by one multiplication, where folding takes some eight
/// instructions one after the other.
inline bool is_zero_sum(std::uint64_t sum) noexcept { return sum % kZeroSum == 0; }

/// Sum of `bytes` bytes at `data`; an odd last byte counts as if a zero followed it.
inline std::uint16_t sum_bytes(const void* data, std::size_t bytes) noexcept {
    return rte_raw_cksum(data, bytes);
}

/// An IPv4 header checksum field from the sum of the header's other words.
/// `known`: what is known of the flow; `rest`: what is known of the packet. One fold is enough for
/// two 16-bit sums.
inline std::uint16_t ip_checksum(std::uint32_t known, std::uint32_t rest) noexcept {
    const std::uint32_t sum = known + rest;
    return static_cast<std::uint16_t>(~(sum + (sum >> 16U)));
}

/// The same for UDP, where 0 means "not computed" and a computed 0 is sent as 0xffff (RFC 768).
inline std::uint16_t udp_checksum(std::uint32_t known, std::uint32_t rest) noexcept {
    const std::uint16_t checksum = ip_checksum(known, rest);
    return checksum == 0 ? std::uint16_t{0xffff} : checksum;
}

/// An unsigned integer at any address, in native order.
template <typename Word>
inline Word load(const std::uint8_t* at) noexcept {
    Word word = 0;
    std::memcpy(&word, at, sizeof(word));
    return word;
}
/// Two bytes at any address, in native order.
inline std::uint16_t load_word(const std::uint8_t* at) noexcept { return load<std::uint16_t>(at); }
inline void store_word(std::uint8_t* at, std::uint16_t word) noexcept {
    std::memcpy(at, &word, sizeof(word));
}

}  // namespace penstock
