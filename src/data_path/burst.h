#pragma once

#include "dpdk/port_limits.h"

#include <rte_mbuf.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace penstock {

/// Packets taken or given together: non-null, in the caller's order. There is no per-packet API.
using Burst = std::span<rte_mbuf*>;
using PacketCount = std::uint32_t;

/// How far behind the mbufs for copies (Tx::fresh()) may be read, for prefetching.
inline constexpr std::size_t kReadAheadPackets = 8;

}  // namespace penstock
