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

/// Makes copies of one packet: headers from the templates, lengths, checksums, payload.
/// copies:  mbufs fresh from their pool (raw: reference count 1, next nullptr), one per template;
///          the memory behind them holds at least kCopiesReadAhead more pointers, which are only
///          prefetched.
/// headers: as many templates.
/// Owns:    nothing changes hands; a chained copy holds one of the references the caller has taken.
/// Cost:    the hot loop of the whole program: 64 bytes of headers, two checksums, 48 bytes of
/// mbuf.
void make_copies(std::span<rte_mbuf*> copies,
                 const FlowTemplate* headers,
                 const Slot& slot,
                 CopyShape shape) noexcept;

inline constexpr std::size_t kCopiesReadAhead = 4;

}  // namespace penstock
