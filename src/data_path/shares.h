#pragma once

#include "base/spsc_ring.h"
#include "data_path/burst.h"
#include "data_path/counters.h"
#include "data_path/stream.h"
#include "data_path/stream_ring.h"

#include <cstdint>
#include <span>

namespace penstock {

struct WorkerConfig;
class Replicate;

// How a stream is fanned out by several workers. The owner stores its packets as ever; each helper
// has a share: flows, ring and counters of its own. The owner reads its ring once more for every
// share and gives the helper each packet with a reference. How far ahead of the helper's copies it
// may go is bounded; what the helper is not ready for stays in the owner's ring, and is lost there
// and nowhere else if the helper is too slow for the ring (DropReason::helper_overrun).

/// Packets that a share has been given and has not sent to all its flows: at most.
inline constexpr PacketCount kShareWindowPackets = 128;
/// Packets that one share is given in one turn: at most; all shares of a stream together at most
/// kQuantumCopies.
inline constexpr PacketCount kShareBurstPackets = 64;
/// Places between an owner and a helper, for all shares that one has of the other's streams.
inline constexpr std::size_t kShareRingPackets = 256;

/// A packet on its way from the owner of a stream to a share of it.
struct SharedPacket {
    Stream* share = nullptr;
    Slot slot{};               // holds a reference; without a packet: now the share has everything
                               // that was stored before it opened
    std::uint64_t missed = 0;  // packets evicted before the owner could give them, since the last
};

/// From one owner to one helper.
using ShareRing = SpscRing<SharedPacket>;

/// Feeds a share from now on, from the oldest packet stored.
/// Thread: the owner of `stream`.
void begin_feeding(Stream& stream, Stream& share) noexcept;
/// No longer. Thread: the owner of `stream`.
void stop_feeding(Stream& stream, const Stream& share) noexcept;

/// Gives the shares of `stream`, of which there is one at least, more of what they have not had
/// yet, in bounded portions; begins each time with another one.
/// Owns:    takes a reference for each packet given.
/// Thread:  the owner of `stream`.
/// Returns: packets given.
PacketCount feed_shares(Stream& stream,
                        const WorkerConfig& config,
                        WorkerCounters& counters) noexcept;

/// The first packet that some share of `stream` has not been given yet; next() of its ring if there
/// is none. Thread: the owner of `stream`.
[[nodiscard]] Sequence first_not_given(const Stream& stream) noexcept;
/// Whether some share has not been told yet that it has everything stored before it opened.
[[nodiscard]] bool is_filling_shares(const Stream& stream) noexcept;

/// Stores packets in their shares' rings and gives the shares to replicate.
/// Owns:   takes all packets.
/// Thread: the helper, owner of all these shares.
void store_shared(std::span<const SharedPacket> packets,
                  WorkerCounters& counters,
                  Replicate& replicate) noexcept;

/// The packet of `slot`, which is in the ring of a share, for a fan-out to chain its copies to: an
/// mbuf of the helper's own attached to the packet. So the references of copies are counted where
/// no other worker counts; all of them are one reference on the packet itself.
/// `live_ports`: a bit for each port that copies will leave by; some ports chain none.
/// Owns:    gives the caller one reference, on top of the copies'.
/// Thread:  the helper.
/// Returns: nullptr if no copy will be chained, if the packet's data is in a buffer outside it, or
///          if there is no mbuf left: copies are chained to the packet itself then.
/// Source:  DPDK 22.11 rte_mbuf.h, rte_pktmbuf_attach(); rte_pktmbuf_prefree_seg() detaches an mbuf
///          when its last reference goes, and leaves it as fresh from its pool.
[[nodiscard]] rte_mbuf* attach_own(const Slot& slot,
                                   std::uint8_t live_ports,
                                   const WorkerConfig& config) noexcept;

}  // namespace penstock
