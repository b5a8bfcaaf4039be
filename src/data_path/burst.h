#pragma once

#include <rte_mbuf.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace penstock {

/// Packets taken or given together: non-null, in the caller's order. There is no per-packet API.
using Burst = std::span<rte_mbuf*>;
using PacketCount = std::uint32_t;

inline constexpr std::size_t kRxBurstPackets = 32;
inline constexpr std::size_t kTxBurstPackets = 64;
inline constexpr std::size_t kPortsMax = 8;
inline constexpr std::size_t kWorkersMax = 64;

}  // namespace penstock
