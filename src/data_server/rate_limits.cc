#include "data_server/rate_limits.h"

#include <algorithm>
#include <span>

namespace penstock {
namespace {

constexpr std::uint64_t kTokenCost = 1000;  // milli-tokens
constexpr std::size_t kSets = 1024;
constexpr std::size_t kWays = 4;
constexpr std::size_t kSitePrefixBytes = 7;  // IPv6 /56

IpAddress prefix_of(IpAddress source) noexcept {
    if (!source.is_v4()) {
        std::fill(source.bytes.begin() + kSitePrefixBytes, source.bytes.end(), std::uint8_t{0});
    }
    return source;
}

}  // namespace

TokenBucket::TokenBucket(Rate rate, std::uint64_t now_ms) noexcept
    : milli_tokens_(rate.burst * kTokenCost), used_at_ms_(now_ms) {}

bool TokenBucket::take(Rate rate, std::uint64_t now_ms) noexcept {
    const std::uint64_t full = rate.burst * kTokenCost;
    const std::uint64_t elapsed_ms = now_ms - used_at_ms_;
    // per_second tokens a second are per_second milli-tokens a millisecond. After so long a pause
    // that the product could overflow the bucket is full anyway.
    milli_tokens_ =
        elapsed_ms > full ? full : std::min(full, milli_tokens_ + elapsed_ms * rate.per_second);
    used_at_ms_ = now_ms;
    if (milli_tokens_ < kTokenCost) {
        return false;
    }
    milli_tokens_ -= kTokenCost;
    return true;
}

SourceRates::SourceRates(Rate rate, const SessionKey& key)
    : rate_(rate), key_(key), entries_(kSets * kWays, Entry{{}, TokenBucket{rate, 0}}) {}

bool SourceRates::take(const IpAddress& source, std::uint64_t now_ms) noexcept {
    const IpAddress prefix = prefix_of(source);
    const std::size_t set = siphash(key_, std::as_bytes(std::span(prefix.bytes))) % kSets;
    const std::span<Entry> ways(&entries_[set * kWays], kWays);
    auto entry = std::ranges::find(ways, prefix, &Entry::prefix);
    if (entry == ways.end()) {
        entry = std::ranges::min_element(
            ways, {}, [](const Entry& way) { return way.bucket.used_at_ms(); });
        *entry = {prefix, TokenBucket{rate_, now_ms}};
    }
    return entry->bucket.take(rate_, now_ms);
}

}  // namespace penstock
