#pragma once

#include "base/net_address.h"
#include "wire/ticket.h"

#include <cstdint>
#include <vector>

namespace penstock {

struct Rate {
    std::uint32_t per_second;
    std::uint32_t burst;
};

/// Permits `burst` events at once and `per_second` in the long run.
class TokenBucket {
  public:
    /// Full at `now_ms`.
    TokenBucket(Rate rate, std::uint64_t now_ms) noexcept;
    /// Whether one more event is permitted at `now_ms` (never earlier than before); takes its
    /// token.
    bool take(Rate rate, std::uint64_t now_ms) noexcept;

    [[nodiscard]] std::uint64_t used_at_ms() const noexcept { return used_at_ms_; }

  private:
    std::uint64_t milli_tokens_;
    std::uint64_t used_at_ms_;
};

/// One bucket per source address (IPv4: /32; IPv6: /56, what one site gets), in a table of fixed
/// size: 1,024 sets of 4. A source not seen lately takes the place of the least recent of its set,
/// so a flood of spoofed sources costs no memory; what it may cost in work, the global limit says.
class SourceRates {
  public:
    /// `key` keeps others from choosing which set a source falls into.
    SourceRates(Rate rate, const SessionKey& key);
    bool take(const IpAddress& source, std::uint64_t now_ms) noexcept;

  private:
    struct Entry {
        IpAddress prefix;
        TokenBucket bucket;
    };

    Rate rate_;
    SessionKey key_;
    std::vector<Entry> entries_;
};

}  // namespace penstock
