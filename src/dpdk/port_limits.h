#pragma once

#include <cstddef>
#include <cstdint>

namespace penstock {

inline constexpr std::size_t kRxBurstPackets = 32;
inline constexpr std::size_t kTxBurstPackets = 64;
inline constexpr std::size_t kPortsMax = 8;
inline constexpr std::size_t kWorkersMax = 64;
inline constexpr std::uint16_t kRxDescriptorsMax = 16384;
inline constexpr std::uint16_t kTxDescriptorsMax = 4096;
/// What every copy needs before its payload: 62 bytes of headers, written as one cache line.
inline constexpr std::uint32_t kCopyHeaderBytes = 64;

// A payload's references: one for the ring, one for the fan-out, one per copy that a NIC still
// holds. The count in an mbuf has 16 bits. Helper workers count on mbufs of their own (attach_own()
// in data_path/shares.h), but not where a driver keeps data in buffers outside its mbufs: there
// this holds for the ports of all workers together, and a single stream for whose copies all of
// their queues are full at once.
static_assert(kPortsMax * (kTxDescriptorsMax + kTxBurstPackets) + 2 < 60'000);

/// How copies leave a port: a small header mbuf chained to the shared payload, or header and
/// payload together in one mbuf, for payloads up to a size (by driver: port.cc).
struct CopyMode {
    std::uint32_t inline_payload_bytes_max;  // 65535: always inline
};

}  // namespace penstock
