#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace penstock {

/// Penstock's own test content: datagrams that say which run they belong to, where in it they
/// stand and when they left, followed by bytes that follow from the sequence alone, so that every
/// loss, repeat, change of order and changed byte shows. `penstock-publish --generate` sends it,
/// `penstock-consume --stats` recognises it.
///
///   0   magic "PSTCONT1"   8   run   16  sequence, from 0   24  sent_at_unix_ns     (big-endian)
///   32  fill
struct TestContentHead {
    std::uint64_t run = 0;  // random per run: two runs never mix
    std::uint64_t sequence = 0;
    std::uint64_t sent_at_unix_ns = 0;
};

inline constexpr std::uint64_t kTestContentMagic = 0x50'53'54'43'4f'4e'54'31ULL;
inline constexpr std::size_t kTestContentBytesMin = 32;

namespace test_content_detail {

inline void store(std::byte* to, std::uint64_t value) noexcept {
    const std::uint64_t swapped = __builtin_bswap64(value);
    __builtin_memcpy(to, &swapped, sizeof(swapped));
}
inline std::uint64_t load(const std::byte* from) noexcept {
    std::uint64_t swapped = 0;
    __builtin_memcpy(&swapped, from, sizeof(swapped));
    return __builtin_bswap64(swapped);
}
/// Word `index` of the fill of datagram `sequence`: both mixed by odd constants, so that no two
/// words of near datagrams are alike.
inline std::uint64_t fill_word(std::uint64_t sequence, std::uint64_t index) noexcept {
    std::uint64_t word =
        (sequence + 1) * 0x9e37'79b9'7f4a'7c15ULL + index * 0xd6e8'feb8'6659'fd93ULL;
    word ^= word >> 32U;
    return word * 0xff51'afd7'ed55'8ccdULL;
}

}  // namespace test_content_detail

/// Fills a whole payload. `payload`: at least kTestContentBytesMin bytes.
inline void write_test_content(std::span<std::byte> payload, const TestContentHead& head) noexcept {
    test_content_detail::store(payload.data(), kTestContentMagic);
    test_content_detail::store(payload.data() + 8, head.run);
    test_content_detail::store(payload.data() + 16, head.sequence);
    test_content_detail::store(payload.data() + 24, head.sent_at_unix_ns);
    std::uint64_t index = 0;
    for (std::size_t at = kTestContentBytesMin; at < payload.size(); at += 8, ++index) {
        std::byte word[8];
        test_content_detail::store(word, test_content_detail::fill_word(head.sequence, index));
        const std::size_t left = payload.size() - at;
        __builtin_memcpy(payload.data() + at, word, left < 8 ? left : 8);
    }
}

/// The head of a payload that begins like test content; nothing about its fill.
inline std::optional<TestContentHead> read_test_content(
    std::span<const std::byte> payload) noexcept {
    if (payload.size() < kTestContentBytesMin ||
        test_content_detail::load(payload.data()) != kTestContentMagic) {
        return std::nullopt;
    }
    return TestContentHead{.run = test_content_detail::load(payload.data() + 8),
                           .sequence = test_content_detail::load(payload.data() + 16),
                           .sent_at_unix_ns = test_content_detail::load(payload.data() + 24)};
}

/// Whether every byte behind the head is the one that its sequence demands.
inline bool test_content_is_intact(std::span<const std::byte> payload) noexcept {
    const std::optional<TestContentHead> head = read_test_content(payload);
    if (!head) {
        return false;
    }
    std::uint64_t index = 0;
    for (std::size_t at = kTestContentBytesMin; at < payload.size(); at += 8, ++index) {
        std::byte word[8];
        test_content_detail::store(word, test_content_detail::fill_word(head->sequence, index));
        const std::size_t left = payload.size() - at;
        if (__builtin_memcmp(payload.data() + at, word, left < 8 ? left : 8) != 0) {
            return false;
        }
    }
    return true;
}

}  // namespace penstock
