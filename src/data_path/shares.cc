#include "data_path/shares.h"

#include "data_path/drop.h"
#include "data_path/replicate.h"
#include "data_path/worker_config.h"

#include <algorithm>
#include <utility>

namespace penstock {
namespace {

/// Packets that the share may be given before it has sent more of what it has.
PacketCount credit_of(Stream& share, PacketCount wanted, std::uint32_t ring_packets_max) noexcept {
    ShareFeed& feed = share.feed;
    // More than the share's ring holds would be evicted there.
    const std::uint64_t window = std::min(kShareWindowPackets, ring_packets_max);
    // The helper's cache line is asked for only when what is known of it will not do.
    if (window - (feed.given - feed.done_seen) < wanted) {
        feed.done_seen = share.progress.done.read();
    }
    return static_cast<PacketCount>(
        std::min<std::uint64_t>(wanted, window - (feed.given - feed.done_seen)));
}

/// Gives one share at most `packets_max`. Returns: packets given.
PacketCount feed_share(const StreamRing& ring,
                       Stream& share,
                       ShareRing& helper,
                       PacketCount packets_max) noexcept {
    ShareFeed& feed = share.feed;
    if (feed.sequence < ring.oldest()) {
        feed.missed += ring.oldest() - feed.sequence;
        feed.sequence = ring.oldest();
    }
    const auto wanted =
        static_cast<PacketCount>(std::min<std::uint64_t>(ring.next() - feed.sequence, packets_max));
    const auto count =
        static_cast<PacketCount>(helper.room(credit_of(share, wanted, ring.packets_max())));
    for (PacketCount i = 0; i < count; ++i) {
        const Slot& slot = ring[feed.sequence++];
        // Our ring's reference keeps the packet; if that is the only one, nobody else can count, so
        // that rte_mbuf.h's plain store for such packets is safe. From now on the helper counts,
        // too, each of us only what it holds.
        rte_mbuf_refcnt_update(slot.packet, 1);
        // There is room.
        (void)helper.try_push({&share, slot, std::exchange(feed.missed, 0)});
    }
    feed.given += count;
    if (feed.filling && feed.sequence == ring.next()) {
        feed.filling = !helper.try_push({&share, Slot{}, std::exchange(feed.missed, 0)});
    }
    return count;
}

/// The first one is the last one next time.
void rotate_shares(Stream& stream) noexcept {
    Stream* first = stream.shares;
    Stream** end = &first->feed.next;
    while (*end != nullptr) {
        end = &(*end)->feed.next;
    }
    *end = first;
    stream.shares = std::exchange(first->feed.next, nullptr);
}

/// Nobody whose flow is in the share gets these.
void count_missed(Stream& share, std::uint64_t packets, WorkerCounters& counters) noexcept {
    const std::uint64_t copies = packets * (share.live + share.catching_up);
    share.missed_packets += packets;
    share.totals.dropped += copies;
    count_lost(copies, DropReason::helper_overrun, counters);
}

}  // namespace

void begin_feeding(Stream& stream, Stream& share) noexcept {
    share.feed.next = stream.shares;
    share.feed.sequence = stream.ring.oldest();
    stream.shares = &share;
}

void stop_feeding(Stream& stream, const Stream& share) noexcept {
    Stream** at = &stream.shares;
    while (*at != &share) {
        at = &(*at)->feed.next;
    }
    *at = share.feed.next;
}

PacketCount feed_shares(Stream& stream,
                        const WorkerConfig& config,
                        WorkerCounters& counters) noexcept {
    PacketCount given = 0;
    for (Stream* share = stream.shares; share != nullptr && given < kQuantumCopies;
         share = share->feed.next) {
        given += feed_share(stream.ring,
                            *share,
                            *config.shares_to[share->feed.helper],
                            std::min(kShareBurstPackets, kQuantumCopies - given));
    }
    rotate_shares(stream);
    counters.given_to_helpers.add(given);
    return given;
}

Sequence first_not_given(const Stream& stream) noexcept {
    Sequence first = stream.ring.next();
    for (const Stream* share = stream.shares; share != nullptr; share = share->feed.next) {
        first = std::min(first, share->feed.sequence);
    }
    return first;
}

bool is_filling_shares(const Stream& stream) noexcept {
    const Stream* share = stream.shares;
    while (share != nullptr && !share->feed.filling) {
        share = share->feed.next;
    }
    return share != nullptr;
}

void store_shared(std::span<const SharedPacket> packets,
                  WorkerCounters& counters,
                  Replicate& replicate) noexcept {
    for (const SharedPacket& shared : packets) {
        Stream& share = *shared.share;
        if (shared.missed > 0) {
            count_missed(share, shared.missed, counters);
        }
        if (shared.slot.packet == nullptr) {
            share.progress.complete.set(1);
            continue;
        }
        counters.taken_to_help.add(1);
        share.ring.push(shared.slot, replicate.freed());
        replicate.activate(share);
    }
}

rte_mbuf* attach_own(const Slot& slot,
                     std::uint8_t live_ports,
                     const WorkerConfig& config) noexcept {
    // rte_pktmbuf_attach() would count on the buffer, not on the packet, and there each helper's
    // reference is not one of its own: two that find a count of 1 would both store 2.
    if (RTE_MBUF_HAS_EXTBUF(slot.packet)) [[unlikely]] {
        return nullptr;
    }
    for (std::uint8_t port = 0; port < config.port_count; ++port) {
        const WorkerPort& to = config.ports[port];
        if ((live_ports >> port & 1U) != 0 &&
            slot.payload_bytes > to.copy_mode.inline_payload_bytes_max) {
            rte_mbuf* own = rte_mbuf_raw_alloc(to.copies);
            if (own != nullptr) {
                // The share's ring holds a reference: a count of 1 is ours alone, as in
                // feed_share().
                rte_pktmbuf_attach(own, slot.packet);
            }
            return own;
        }
    }
    return nullptr;
}

}  // namespace penstock
