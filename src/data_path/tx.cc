#include "data_path/tx.h"

#include "data_path/drop.h"

#include <rte_ethdev.h>
#include <rte_ring.h>

#include <algorithm>
#include <utility>

namespace penstock {
Tx::Tx(const WorkerConfig& config, WorkerCounters& counters) noexcept
    : config_(config), counters_(counters) {}

PacketCount Tx::add_from_control() noexcept {
    std::array<rte_mbuf*, kRxBurstPackets> frames;
    const unsigned count = rte_ring_sc_dequeue_burst(
        config_.outgoing, reinterpret_cast<void**>(frames.data()), kRxBurstPackets, nullptr);
    for (rte_mbuf* frame : Burst{frames}.first(count)) {
        if (frame->port >= config_.port_count) {
            drop({&frame, 1}, DropReason::port_unknown, counters_);
            continue;
        }
        const auto port = static_cast<std::uint8_t>(frame->port);
        room(port).front() = frame;
        add(port, {.copies = 1, .frame_bytes = frame->pkt_len});
    }
    return count;
}

PacketCount Tx::send_all() noexcept {
    for (std::uint8_t port = 0; port < config_.port_count; ++port) {
        if (pending_[port].count > 0) {
            send(port);
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

void Tx::send(std::uint8_t port) noexcept {
    const WorkerPort& to = config_.ports[port];
    Pending& pending = pending_[port];
    const std::uint32_t sent = rte_eth_tx_burst(
        to.port_id, to.tx_queue, pending.packets.data(), static_cast<std::uint16_t>(pending.count));
    std::uint64_t bytes = 0;
    std::uint32_t left = sent;
    for (const CopyRun& run : std::span{pending.runs}.first(pending.run_count)) {
        const std::uint32_t of_run = std::min(left, run.copies);
        bytes += std::uint64_t{of_run} * run.frame_bytes;
        left -= of_run;
        account(run, of_run);
    }
    PortCounters& counters = counters_.ports[port];
    counters.tx_packets.add(sent);
    counters.tx_bytes.add(bytes);
    if (sent < pending.count) {
        counters.tx_unsent.add(pending.count - sent);
        drop(Burst{pending.packets}.subspan(sent, pending.count - sent),
             DropReason::tx_queue_full,
             counters_);
    }
    sent_ += sent;
    pending.count = 0;
    pending.run_count = 0;
}

/// `sent`: copies of the run that the NIC accepted, the first ones.
void Tx::account(const CopyRun& run, std::uint32_t sent) noexcept {
    if (run.stream == nullptr) {
        counters_.sent_for_control.add(sent);
        return;
    }
    StreamCounters& counters = run.stream->counters;
    counters.copies.add(sent);
    counters.copy_bytes.add(std::uint64_t{sent} * run.payload_bytes);
    if (sent < run.copies) {
        count_lost_copies(run, sent);
    }
}

void Tx::count_lost_copies(const CopyRun& run, std::uint32_t first) noexcept {
    run.stream->counters.dropped.add(run.copies - first);
    for (std::uint32_t i = first; i < run.copies; ++i) {
        // They are in the flow's counts already, or will be when the packet is through.
        FlowRecord& flow = run.live_flows != nullptr ? *run.live_flows[i] : *run.catching_up;
        flow.lost_base += 1;
        flow.copies_base -= 1;
        flow.copy_bytes_base -= run.payload_bytes;
    }
}

}  // namespace penstock
