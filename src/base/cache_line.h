#pragma once

#include <cstddef>

namespace penstock {

/// Bytes that one core takes from another at once. Checked against RTE_CACHE_LINE_SIZE in dpdk/.
inline constexpr std::size_t kCacheLineBytes = 64;

}  // namespace penstock
