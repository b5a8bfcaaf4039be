#pragma once

#include "base/cache_line.h"

#include <cstddef>

namespace penstock {

/// Fetches all cache lines of an object that is about to be used, at the same time. Costs little
/// where they are there already.
template <typename Object>
inline void prefetch_for_write(const Object& object) noexcept {
    const auto* const bytes = reinterpret_cast<const std::byte*>(&object);
    for (std::size_t at = 0; at < sizeof(Object); at += kCacheLineBytes) {
        __builtin_prefetch(bytes + at, 1);
    }
}

}  // namespace penstock
