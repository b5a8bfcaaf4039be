#pragma once

#include "data_path/flow.h"
#include "data_path/stream_ring.h"

#include <cstdint>
#include <span>

namespace penstock {

/// How the copies of one burst hold their payload.
enum class CopyShape : std::uint8_t {
    chained,         // header mbuf → the shared payload
    self_contained,  // header and payload in one mbuf; also without any payload
};

/// Makes copies of one packet: headers, lengths, checksums, payload.
/// copies:  mbufs fresh from their pool (Tx::fresh()), one per flow; the memory behind them
///          holds at least kReadAheadPackets more pointers, which are only prefetched. With
///          self_contained each has room for its headers and the payload, rounded up to whole cache
///          lines.
/// headers: of as many flows, side by side.
/// Owns:    nothing changes hands; a chained copy holds one of the references the caller has taken.
/// Cost:    the hot loop of the whole program: reads 16 bytes of the flow; writes a cache line of
///          frame (with the payload behind it, if self_contained), two checksums, and 32 bytes of
///          mbuf, 40 if chained.
void make_copies(std::span<rte_mbuf* const> copies,
                 CopySource source,
                 const FlowHeaders* headers,
                 const Slot& slot,
                 CopyShape shape) noexcept;

/// Gives received packets a flow's headers in place of those they came with.
/// content: all of one payload size. Nobody else holds the packets; source.common.header_bytes in
///          front of the payload are free.
/// packets: as many places, where the packets are put.
void rewrite(ContentBurst content,
             CopySource source,
             const FlowHeaders& headers,
             rte_mbuf** packets) noexcept;

}  // namespace penstock
