#include "data_path/tx.h"

#include "data_path/drop.h"

#include <rte_ethdev.h>
#include <rte_mempool.h>
#include <rte_ring.h>

#include <algorithm>
#include <utility>

namespace penstock {

Tx::Tx(const WorkerConfig& config, WorkerCounters& counters) noexcept
    : config_(config), counters_(counters) {
    for (std::uint8_t port = 0; port < kPortsMax; ++port) {
        pending_[port].port = port;
    }
}

Tx::~Tx() {
    for (std::uint8_t port = 0; port < config_.port_count; ++port) {
        Pending& pending = pending_[port];
        rte_mempool_put_bulk(config_.ports[port].copies,
                             reinterpret_cast<void**>(&pending.packets[pending.count]),
                             static_cast<unsigned>(pending.fresh));
    }
}

std::uint32_t Tx::ready() const noexcept {
    std::size_t ready = 0;
    for (const Pending& pending : pending_) {
        ready += pending.fresh;
    }
    return static_cast<std::uint32_t>(ready);
}

/// What fills the burst; of a pool that is nearly empty, what one copy needs.
void Tx::refill(Pending& pending) noexcept {
    rte_mempool* pool = config_.ports[pending.port].copies;
    rte_mbuf** const at = &pending.packets[pending.count];
    auto** const fresh = reinterpret_cast<void**>(at);
    const std::size_t wanted = kTxBurstPackets - pending.count;
    if (rte_mempool_get_bulk(pool, fresh, static_cast<unsigned>(wanted)) == 0) [[likely]] {
        pending.fresh = wanted;
    } else if (rte_mempool_get_bulk(pool, fresh, 1) == 0) {
        pending.fresh = 1;
    } else {
        return;
    }
    // Prefetching nullptr would cost a walk of the page tables every time.
    std::fill_n(at + pending.fresh, kReadAheadPackets, *at);
}

PacketCount Tx::add_from_control() noexcept {
    std::array<rte_mbuf*, kRxBurstPackets> frames;
    const unsigned count = rte_ring_sc_dequeue_burst(
        config_.outgoing, reinterpret_cast<void**>(frames.data()), kRxBurstPackets, nullptr);
    for (rte_mbuf* frame : Burst{frames}.first(count)) {
        if (frame->port >= config_.port_count) {
            drop({&frame, 1}, DropReason::port_unknown, counters_);
            continue;
        }
        Pending& to = pending_[frame->port];
        *make_room(to, 1) = frame;
        add_in_room(to, {.copies = 1, .frame_bytes = frame->pkt_len});
    }
    return count;
}

PacketCount Tx::send_all() noexcept {
    for (Pending& pending : std::span{pending_}.first(config_.port_count)) {
        if (pending.count > 0) {
            send(pending);
        }
    }
    return std::exchange(sent_, 0);
}

void Tx::reclaim() noexcept {
    for (std::uint8_t port = 0; port < config_.port_count; ++port) {
        const WorkerPort& to = config_.ports[port];
        rte_eth_tx_done_cleanup(to.port_id, to.tx_queue, 0);
    }
}

void Tx::send(Pending& pending) noexcept {
    const WorkerPort& to = config_.ports[pending.port];
    const std::uint32_t sent = rte_eth_tx_burst(
        to.port_id, to.tx_queue, pending.packets.data(), static_cast<std::uint16_t>(pending.count));
    PortCounters& counters = counters_.ports[pending.port];
    if (sent < pending.count) [[unlikely]] {
        count_unsent(pending, sent);
        counters.tx_unsent.add(pending.count - sent);
        drop(Burst{pending.packets}.subspan(sent, pending.count - sent),
             DropReason::tx_queue_full,
             counters_);
    }
    counters.tx_packets.add(sent);
    counters.tx_bytes.add(pending.bytes);
    if (pending.control_frames > 0) [[unlikely]] {
        counters_.sent_for_control.add(pending.control_frames);
    }
    sent_ += sent;
    std::copy_n(&pending.packets[pending.count], pending.fresh, pending.packets.begin());
    pending.count = 0;
    pending.run_count = 0;
    pending.bytes = 0;
    pending.control_frames = 0;
}

/// Takes back what was counted of packets that the NIC has not accepted: all after the first
/// `sent`.
void Tx::count_unsent(Pending& pending, std::uint32_t sent) noexcept {
    std::uint32_t left = sent;
    for (const CopyRun& run : std::span{pending.runs}.first(pending.run_count)) {
        const std::uint32_t of_run = std::min(left, run.copies);
        const std::uint32_t unsent = run.copies - of_run;
        left -= of_run;
        pending.bytes -= std::uint64_t{unsent} * run.frame_bytes;
        if (run.stream == nullptr) {
            pending.control_frames -= unsent;
        } else if (unsent > 0) {
            count_lost_copies(run, pending.port, of_run);
        }
    }
}

void Tx::count_lost_copies(const CopyRun& run, std::uint8_t port, std::uint32_t first) noexcept {
    const std::uint64_t lost = run.copies - first;
    StreamTotals& totals = run.stream->totals;
    totals.copies -= lost;
    totals.copy_bytes -= lost * run.payload_bytes;
    totals.dropped += lost;
    const FlowGroup& group = run.stream->groups[port];
    for (std::uint32_t i = first; i < run.copies; ++i) {
        // They are in the flow's counts already, or will be when the packet is through.
        FlowRecord& flow = run.flow != nullptr
                               ? *run.flow
                               : group.record_at(run.position + (run.one_flow ? 0 : i));
        flow.lost_base += 1;
        flow.copies_base -= 1;
        flow.copy_bytes_base -= run.payload_bytes;
    }
}

}  // namespace penstock
