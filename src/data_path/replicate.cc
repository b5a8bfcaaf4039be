#include "data_path/replicate.h"

#include "base/check.h"
#include "data_path/drop.h"
#include "data_path/packet_copy.h"
#include "data_path/shares.h"

#include <rte_mempool.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

namespace penstock {
namespace {

/// Whether the fan-out of the present packet is over for flows that are appended to this group now.
bool has_passed(const Stream& stream, std::uint8_t port) noexcept {
    const FanoutCursor& cursor = stream.cursor;
    return cursor.suspended && (cursor.is_through(port, stream.port_count) ||
                                (port == cursor.group(stream.port_count) &&
                                 stream.groups[port].has_wrapped(cursor.index)));
}

/// Whether a live flow has had the present packet.
bool has_present_packet(const Stream& stream, const FlowRecord& flow) noexcept {
    const FanoutCursor& cursor = stream.cursor;
    return cursor.suspended && (cursor.is_through(flow.port, stream.port_count) ||
                                (flow.port == cursor.group(stream.port_count) &&
                                 stream.groups[flow.port].place_of(flow.position) < cursor.index));
}

/// Whether `arrival` is due for a flow that hears its history kCatchUpSpeed times faster.
bool is_due(const FlowRecord& flow, Ticks arrival, Ticks now) noexcept {
    const std::uint64_t since_join = static_cast<Ticks>(now - flow.joined_at_ticks);
    const std::uint64_t since_first = static_cast<Ticks>(arrival - flow.first_arrival_ticks);
    return since_first <= since_join * kCatchUpSpeed;
}

/// Of a pause in the history no more is heard than kCatchUpPauseMax: an hour without content must
/// not keep who joins after it from the live packets.
void shorten_pause(FlowRecord& flow, Ticks arrival, Ticks now) noexcept {
    constexpr std::uint64_t kAheadMax = std::uint64_t{kCatchUpPauseMax} * kCatchUpSpeed;
    const std::uint64_t since_join = static_cast<Ticks>(now - flow.joined_at_ticks);
    const std::uint64_t since_first = static_cast<Ticks>(arrival - flow.first_arrival_ticks);
    const std::uint64_t ahead = since_first - since_join * kCatchUpSpeed;  // not due: > 0
    if (ahead > kAheadMax) {
        flow.first_arrival_ticks += static_cast<Ticks>(ahead - kAheadMax);
    }
}

/// The packet a fan-out left unfinished has a reference of its own until it is finished.
void suspend(Stream& stream, const Slot& slot) noexcept {
    if (!stream.cursor.suspended) {
        rte_mbuf_refcnt_update(slot.packet, 1);
        stream.suspended = slot;
        stream.cursor.suspended = true;
    }
}

/// A share's fan-out chains its copies to an mbuf of its helper's own, which goes when it is over.
void hold_own(Stream& share, const WorkerConfig& config) noexcept {
    const Slot& slot = share.ring[share.cursor.sequence];
    if (rte_mbuf* own = attach_own(slot, share.live_ports, config); own != nullptr) {
        share.suspended = slot;
        share.suspended.packet = own;
        share.cursor.suspended = true;
    }
}

/// The first packet of the history asked for: the smaller of both limits, of which 0 is none;
/// next() if nothing is asked for, or nothing is there.
Sequence history_start(const StreamRing& ring,
                       const AddFlow& command,
                       Ticks now,
                       std::uint64_t tsc_hz) noexcept {
    const bool asked = command.history_packets > 0 || command.history_ms > 0;
    if (!asked || !command.stream->keeps_history) {
        return ring.next();
    }
    Sequence start = ring.oldest();
    if (command.history_packets > 0) {
        start = ring.next() - std::min(command.history_packets, ring.packets());
    }
    if (command.history_ms > 0) {
        const std::uint64_t age = command.history_ms * (tsc_hz / 1000) >> kTicksShift;
        constexpr std::uint64_t kAgeMax = std::numeric_limits<Ticks>::max();
        const auto within = static_cast<Ticks>(std::min(age, kAgeMax));
        start = std::max(start, ring.first_within(within, now));
    }
    return start;
}

/// Copies are the stream's whether they could be made or not; what is lost is taken off.
void count_copies(Stream& stream, PacketCount copies, std::uint16_t payload_bytes) noexcept {
    stream.totals.copies += copies;
    stream.totals.copy_bytes += std::uint64_t{copies} * payload_bytes;
}

/// How many of the first packets are of the first one's stream and have as large a payload.
std::size_t count_alike(ContentBurst content) noexcept {
    const Content& first = content.front();
    std::size_t count = 1;
    while (count < content.size() && content[count].stream == first.stream &&
           content[count].payload_bytes == first.payload_bytes) {
        ++count;
    }
    return count;
}

/// A stream without history keeps a packet only until all have had it; nobody in it catches up.
void release_sent(Stream& stream) noexcept {
    if (!stream.keeps_history) {
        Sequence sent = stream.cursor.sequence;
        if (stream.shares != nullptr) [[unlikely]] {
            sent = std::min(sent, first_not_given(stream));
        }
        stream.ring.release_before(sent);
    }
}

/// Whether so many packets wait for their fan-out that no more should be taken in. A share has few:
/// the rest waits at the owner of its stream.
bool falls_behind(const Stream& stream) noexcept {
    const std::uint64_t backlog = stream.ring.next() - stream.cursor.sequence;
    return backlog > (stream.is_share() ? kShareWindowPackets : stream.ring.packets_max()) / 2;
}

void let_go(Stream& stream) noexcept {
    if (stream.cursor.suspended) [[unlikely]] {
        rte_pktmbuf_free_seg(stream.suspended.packet);
        stream.suspended = {};
        stream.cursor.suspended = false;
    }
}

}  // namespace

Replicate::Replicate(const WorkerConfig& config, WorkerCounters& counters, Tx& tx) noexcept
    : config_(config), counters_(counters), tx_(tx) {
    for (std::size_t port = 0; port < config.port_count; ++port) {
        common_[port] = make_common_headers(config.ports[port].mac, config.ports[port].address);
    }
}

PacketCount Replicate::to_consumers(Ticks now) noexcept {
    PacketCount offered = 0;
    behind_ = false;
    for (std::uint32_t left = active_.size(); left > 0 && offered < kTurnCopies; --left) {
        Stream& stream = active_.take_first();
        if (stream.shares != nullptr) [[unlikely]] {
            offered += feed_shares(stream, config_, counters_);
        }
        offered += serve_live(stream);
        offered += serve_catching_up(stream, now);
        release_sent(stream);
        behind_ = behind_ || falls_behind(stream);
        if (stream.is_share()) [[unlikely]] {
            stream.progress.done.set(stream.cursor.sequence);
        }
        const bool more = has_more(stream);
        stream.at_once = !more && stream.shares == nullptr && stream.live <= kQuantumCopies;
        if (more) {
            active_.append(stream);
        }
    }
    counters_.copies.add(std::exchange(made_, 0));
    freed_.flush();
    return offered;
}

bool Replicate::has_more(const Stream& stream) noexcept {
    const Sequence next = stream.ring.next();
    if (stream.cursor.sequence != next || stream.catching_up > 0) {
        return true;
    }
    return stream.shares != nullptr &&
           (first_not_given(stream) != next || is_filling_shares(stream));
}

[[gnu::always_inline]] inline CopyShape Replicate::shape_of(const Slot& slot,
                                                            std::uint8_t port) const noexcept {
    // A chain may not end in an empty segment: some NICs stop their queue over it.
    const bool self_contained =
        slot.payload_bytes == 0 ||
        slot.payload_bytes <= config_.ports[port].copy_mode.inline_payload_bytes_max;
    return self_contained ? CopyShape::self_contained : CopyShape::chained;
}

/// What fan_out() comes down to where all flows lie in one chunk and their copies in one burst: of
/// streams with few consumers it is nearly all of the cost that is not the copies' own.
[[gnu::always_inline]] inline bool Replicate::send_in_one(Stream& stream,
                                                          const Slot& slot) noexcept {
    const auto port = static_cast<std::uint8_t>(std::countr_zero(stream.live_ports));
    const PacketCount live = stream.live;
    if (!std::has_single_bit(stream.live_ports) || live > kFlowsPerChunk) {
        return false;
    }
    Tx::Pending& pending = tx_.pending(port);
    const std::span<rte_mbuf* const> fresh = tx_.fresh(pending);
    if (fresh.size() < live) {
        return false;
    }
    const CopySource source = source_of(stream, port);
    const CopyShape shape = shape_of(slot, port);
    make_copies(fresh.first(live), source, stream.first_headers, slot, shape);
    // The packet's own reference is the ring's, or the last copy's.
    if (shape == CopyShape::chained) {
        const PacketCount references = stream.keeps_history ? live : live - 1;
        rte_mbuf_refcnt_update(slot.packet, static_cast<std::int16_t>(references));
    } else if (!stream.keeps_history) {
        rte_pktmbuf_free_seg(slot.packet);
    }
    made_ += live;
    tx_.add_fresh(pending,
                  {.stream = &stream,
                   .copies = live,
                   .payload_bytes = slot.payload_bytes,
                   .frame_bytes = std::uint32_t{source.common.header_bytes} + slot.payload_bytes});
    return true;
}

[[gnu::always_inline]] inline void Replicate::send_to_all(Stream& stream,
                                                          const Slot& slot) noexcept {
    if (!send_in_one(stream, slot)) [[unlikely]] {
        FanoutCursor cursor;
        fan_out(stream, slot, cursor, kQuantumCopies);
        if (!stream.keeps_history) {
            rte_pktmbuf_free_seg(slot.packet);
        }
    }
    if (stream.keeps_history) {
        stream.ring.push(slot, freed_);
        ++stream.cursor.sequence;
    }
    stream.sent_at_once.packets += 1;
    stream.sent_at_once.bytes += slot.payload_bytes;
}

std::size_t Replicate::send_at_once(ContentBurst content, Ticks now) noexcept {
    // Two packets ahead: sooner and all at once, more misses than a CPU can wait for.
    constexpr std::size_t kAhead = 2;
    for (const Content& first : content.first(std::min(content.size(), kAhead))) {
        prefetch(*first.stream);
    }
    std::size_t sent = 0;
    while (sent < content.size()) {
        const Content& arrived = content[sent];
        Stream& stream = *arrived.stream;
        if (sent + kAhead < content.size() && content[sent + kAhead].stream != &stream) {
            prefetch(*content[sent + kAhead].stream);
        }
        if (!stream.at_once || made_ + stream.live > kTurnCopies) {
            break;
        }
        if (stream.live == 1 && !stream.keeps_history) {
            const std::size_t left =
                std::min<std::size_t>(content.size() - sent, kTurnCopies - made_);
            sent += pass(stream, content.subspan(sent, left));
        } else {
            send_to_all(stream,
                        {.packet = arrived.packet,
                         .payload_bytes = arrived.payload_bytes,
                         .payload_sum = arrived.payload_sum,
                         .arrival_ticks = now});
            ++sent;
        }
    }
    return sent;
}

/// To the only live flow, each packet in its own mbuf: the first ones that are alike.
std::size_t Replicate::pass(Stream& stream, ContentBurst content) noexcept {
    const auto port = static_cast<std::uint8_t>(std::countr_zero(stream.live_ports));
    const CopySource source = source_of(stream, port);
    Tx::Pending& pending = tx_.pending(port);
    const std::size_t room = Tx::room(pending);
    const std::size_t count = count_alike(content.first(std::min(room, content.size())));
    const CopyRun run{
        .stream = &stream,
        .one_flow = true,  // the first: nothing of its group is touched
        .copies = static_cast<std::uint32_t>(count),
        .payload_bytes = content.front().payload_bytes,
        .frame_bytes = std::uint32_t{source.common.header_bytes} + content.front().payload_bytes};
    rewrite(content.first(count), source, *stream.first_headers, Tx::make_room(pending, count));
    tx_.add_in_room(pending, run);
    stream.sent_at_once.packets += count;
    stream.sent_at_once.bytes += std::uint64_t{run.copies} * run.payload_bytes;
    made_ += run.copies;
    return count;
}

PacketCount Replicate::serve_live(Stream& stream) noexcept {
    FanoutCursor& cursor = stream.cursor;
    if (stream.live == 0) {
        let_go(stream);
        cursor = {};
        cursor.sequence = stream.ring.next();
        return 0;
    }
    PacketCount offered = 0;
    while (offered < kQuantumCopies && cursor.sequence != stream.ring.next()) {
        if (!cursor.suspended) {
            skip_evicted(stream);
            if (stream.is_share()) [[unlikely]] {
                hold_own(stream, config_);
            }
        }
        const Slot slot = cursor.suspended ? stream.suspended : stream.ring[cursor.sequence];
        const PacketCount copies = fan_out(stream, slot, cursor, kQuantumCopies - offered);
        count_copies(stream, copies, slot.payload_bytes);
        offered += copies;
        if (cursor.groups_done < stream.port_count) {
            suspend(stream, slot);
            break;
        }
        let_go(stream);
        cursor.advance(stream.port_count);
        ++stream.fanned_packets;
        stream.fanned_bytes += slot.payload_bytes;
    }
    return offered;
}

PacketCount Replicate::fan_out(Stream& stream,
                               const Slot& slot,
                               FanoutCursor& cursor,
                               PacketCount copies_max) noexcept {
    PacketCount offered = 0;
    for (; cursor.groups_done < stream.port_count; ++cursor.groups_done, cursor.index = 0) {
        const std::uint8_t port = cursor.group(stream.port_count);
        if ((stream.live_ports >> port & 1U) == 0) {  // without looking at the group
            continue;
        }
        FlowGroup& group = stream.groups[port];
        while (cursor.index < group.live()) {
            if (offered == copies_max) {
                return offered;
            }
            const std::uint32_t position = group.position_of(cursor.index);
            const FlowChunk& chunk = group.chunk_of(position);
            const std::uint32_t at = position % kFlowsPerChunk;
            const std::uint32_t neighbours =
                std::min({copies_max - offered,
                          group.live() - std::max(cursor.index, position),
                          kFlowsPerChunk - at});
            const std::uint32_t copied =
                copy(slot,
                     port,
                     &chunk.headers[at],
                     {.stream = &stream, .position = position, .copies = neighbours});
            offered += copied;
            cursor.index += copied;
        }
        group.rotate();
    }
    return offered;
}

std::uint32_t Replicate::copy(const Slot& slot,
                              std::uint8_t port,
                              const FlowHeaders* headers,
                              CopyRun run) noexcept {
    Tx::Pending& pending = tx_.pending(port);
    std::span<rte_mbuf* const> copies = tx_.fresh(pending);
    run.payload_bytes = slot.payload_bytes;
    const CopySource source = source_of(*run.stream, port);
    run.frame_bytes = source.common.header_bytes + std::uint32_t{slot.payload_bytes};
    if (copies.empty()) [[unlikely]] {
        count_lost(run.copies, DropReason::no_copy_mbuf, counters_);
        Tx::count_lost_copies(run, port, 0);
        return run.copies;
    }
    copies = copies.first(std::min<std::size_t>(copies.size(), run.copies));
    run.copies = static_cast<std::uint32_t>(copies.size());
    const CopyShape shape = shape_of(slot, port);
    make_copies(copies, source, headers, slot, shape);
    if (shape == CopyShape::chained) {
        // Once per packet and burst, and never for a whole fan-out: the count has 16 bits.
        rte_mbuf_refcnt_update(slot.packet, static_cast<std::int16_t>(run.copies));
    }
    made_ += run.copies;
    tx_.add_fresh(pending, run);
    return run.copies;
}

void Replicate::skip_evicted(Stream& stream) noexcept {
    const Sequence oldest = stream.ring.oldest();
    if (stream.cursor.sequence >= oldest) {
        return;
    }
    const std::uint64_t packets = oldest - stream.cursor.sequence;
    stream.cursor.sequence = oldest;
    stream.skipped_packets += packets;
    stream.totals.dropped += packets * stream.live;
    count_lost(packets * stream.live, DropReason::fanout_overrun, counters_);
}

void Replicate::skip_evicted(Stream& stream, FlowRecord& flow) noexcept {
    // The cursor may stand on a packet that is evicted and held by it alone.
    const Sequence oldest = std::min(stream.ring.oldest(), stream.cursor.sequence);
    if (flow.next_sequence >= oldest) {
        return;
    }
    const std::uint64_t packets = oldest - flow.next_sequence;
    flow.next_sequence = oldest;
    flow.lost_base += packets;
    stream.totals.dropped += packets;
    count_lost(packets, DropReason::history_overrun, counters_);
}

PacketCount Replicate::serve_catching_up(Stream& stream, Ticks now) noexcept {
    PacketCount offered = 0;
    if (stream.catching_up == 0) {
        return offered;
    }
    for (std::uint8_t port = 0; port < stream.port_count; ++port) {
        FlowGroup& group = stream.groups[port];
        const std::uint32_t visits = std::min(group.catching_up(), kCatchUpFlowsPerQuantum);
        for (std::uint32_t i = 0; i < visits; ++i) {
            offered += catch_up(stream, group.next_catching_up(), now);
        }
    }
    return offered;
}

PacketCount Replicate::catch_up(Stream& stream, FlowRecord& flow, Ticks now) noexcept {
    const FanoutCursor& cursor = stream.cursor;
    const FlowGroup& group = stream.groups[flow.port];
    PacketCount offered = 0;
    while (offered < kCatchUpCopiesPerFlow) {
        skip_evicted(stream, flow);
        const bool at_live = flow.next_sequence == cursor.sequence;
        if (at_live && !has_passed(stream, flow.port)) {
            promote(stream, flow);
            break;
        }
        const Slot& slot = at_live ? stream.suspended : stream.ring[flow.next_sequence];
        if (!is_due(flow, slot.arrival_ticks, now)) {
            shorten_pause(flow, slot.arrival_ticks, now);
            break;
        }
        flow.copies_base += 1;
        flow.copy_bytes_base += slot.payload_bytes;
        copy(slot,
             flow.port,
             &group.headers_of(flow.position),
             {.stream = &stream, .flow = &flow, .copies = 1});
        count_copies(stream, 1, slot.payload_bytes);
        ++offered;
        ++flow.next_sequence;
        if (at_live) {  // it has had the present packet, like the live flows of its port
            promote(stream, flow);
            break;
        }
    }
    return offered;
}

/// From now on the flow's counts are its stream's, less what went before.
void Replicate::promote(Stream& stream, FlowRecord& flow) noexcept {
    settle(stream);
    FanoutCursor& cursor = stream.cursor;
    const bool passed = has_passed(stream, flow.port);
    stream.groups[flow.port].promote(flow);
    if (passed && flow.port == cursor.group(stream.port_count)) {
        ++cursor.index;  // it stands among those that have had the packet
    }
    --stream.catching_up;
    ++stream.live;
    flow.copies_base -= stream.fanned_packets + (passed ? 1 : 0);
    flow.copy_bytes_base -= stream.fanned_bytes + (passed ? stream.suspended.payload_bytes : 0);
    flow.lost_base -= stream.skipped_packets;
    find_live_ports(stream);
}

/// After every change of the live flows of a stream.
void Replicate::find_live_ports(Stream& stream) noexcept {
    stream.live_ports = 0;
    stream.first_headers = nullptr;
    for (std::uint8_t port = 0; port < stream.port_count; ++port) {
        const FlowGroup& group = stream.groups[port];
        if (group.live() > 0) {
            stream.live_ports |= static_cast<std::uint8_t>(1U << port);
            if (stream.first_headers == nullptr) {
                stream.first_headers = &group.headers_of(0);
            }
        }
    }
}

void Replicate::settle(Stream& stream) noexcept {
    const SentAtOnce sent = std::exchange(stream.sent_at_once, {});
    stream.totals.packets_in += sent.packets;
    stream.totals.bytes_in += sent.bytes;
    stream.totals.copies += sent.packets * stream.live;
    stream.totals.copy_bytes += sent.bytes * stream.live;
    stream.fanned_packets += sent.packets;
    stream.fanned_bytes += sent.bytes;
}

void Replicate::add_flow(const AddFlow& command, Ticks now, std::uint64_t tsc_hz) noexcept {
    Stream& stream = *command.stream;
    FlowRecord& flow = *command.flow;
    PENSTOCK_CHECK(command.port < stream.port_count);
    flow.port = command.port;
    flow.copies_base = 0;
    flow.copy_bytes_base = 0;
    flow.lost_base = std::uint64_t{0} - stream.missed_packets;
    flow.joined_at_ticks = now;
    stream.groups[command.port].add_catching_up(flow, command.headers);
    ++stream.catching_up;
    stream.counters.consumers.add(1);

    const Sequence start = history_start(stream.ring, command, now, tsc_hz);
    const Sequence live = stream.cursor.sequence;
    if (start > live || (start == live && !has_passed(stream, command.port))) {
        promote(stream, flow);  // the fan-out has yet to come to all it asked for
    } else {
        flow.next_sequence = start;
        flow.first_arrival_ticks = stream.ring[start].arrival_ticks;
    }
    activate(stream);
}

void Replicate::grow_flows(const GrowFlows& command) noexcept {
    PENSTOCK_CHECK(command.port < command.stream->port_count);
    command.stream->groups[command.port].grow(
        command.chunk, command.directory, command.directory_chunks);
    find_live_ports(*command.stream);  // the first ones may have moved
}

void Replicate::remove_flow(const RemoveFlow& command) noexcept {
    Stream& stream = *command.stream;
    FlowRecord& flow = *command.flow;
    settle(stream);
    publish(stream, flow);
    FlowGroup& group = stream.groups[flow.port];
    (group.is_live(flow) ? stream.live : stream.catching_up) -= 1;
    std::uint32_t none = 0;  // in groups the fan-out is not in, all have had the packet, or none
    const bool is_in_fan_out = flow.port == stream.cursor.group(stream.port_count);
    group.remove(flow, is_in_fan_out ? stream.cursor.index : none);
    find_live_ports(stream);
    stream.counters.consumers.add(std::uint64_t{0} - 1);
}

void Replicate::update_flow(const UpdateFlow& command) noexcept {
    command.stream->groups[command.flow->port].update(*command.flow, command.headers);
}

void Replicate::feed_share(const FeedShare& command) noexcept {
    begin_feeding(*command.stream, *command.share);
    activate(*command.stream);
}

void Replicate::stop_share(const StopShare& command) noexcept {
    stop_feeding(*command.stream, *command.share);
    activate(*command.stream);  // what was kept for the share may go
}

void Replicate::stop(Stream& stream) noexcept {
    stream.shares = nullptr;
    if (stream.active) {
        active_.remove(stream);
    }
    let_go(stream);
}

void Replicate::publish(const Stream& stream, FlowRecord& flow) noexcept {
    const bool live = stream.groups[flow.port].is_live(flow);
    std::uint64_t packets = flow.copies_base;
    std::uint64_t bytes = flow.copy_bytes_base;
    if (live) {
        packets += stream.fanned_packets + stream.sent_at_once.packets;
        bytes += stream.fanned_bytes + stream.sent_at_once.bytes;
        if (has_present_packet(stream, flow)) {
            packets += 1;
            bytes += stream.suspended.payload_bytes;
        }
    }
    flow.counters.copies.set(packets);
    flow.counters.copy_bytes.set(bytes);
    flow.counters.lost.set(flow.lost_base + stream.missed_packets +
                           (live ? stream.skipped_packets : 0));
    flow.counters.history_left.set(live ? 0 : stream.cursor.sequence - flow.next_sequence);
}

void Replicate::publish(Stream& stream) noexcept {
    settle(stream);
    StreamCounters& counters = stream.counters;
    counters.packets_in.set(stream.totals.packets_in);
    counters.bytes_in.set(stream.totals.bytes_in);
    counters.copies.set(stream.totals.copies);
    counters.copy_bytes.set(stream.totals.copy_bytes);
    counters.dropped.set(stream.totals.dropped);
    counters.ring_packets.set(stream.ring.packets());
    counters.ring_bytes.set(stream.ring.bytes());
}

}  // namespace penstock
