#include "data_path/rx.h"

#include <rte_ethdev.h>
#include <rte_prefetch.h>
#include <rte_ring.h>

namespace penstock {
namespace {

/// All of a burst before the first is read, so that their misses overlap.
void prefetch_headers(const rte_mbuf* packet) noexcept {
    rte_prefetch0(rte_pktmbuf_mtod(packet, const void*));
}

}  // namespace

Rx::Rx(const WorkerConfig& config, WorkerCounters& counters) noexcept
    : config_(config), counters_(counters) {}

Burst Rx::receive(std::uint8_t port) noexcept {
    const WorkerPort& from = config_.ports[port];
    const std::uint16_t count =
        rte_eth_rx_burst(from.port_id, from.rx_queue, packets_.data(), kRxBurstPackets);
    if (count == 0) {
        return {};
    }
    std::uint64_t bytes = 0;
    for (const rte_mbuf* packet : Burst{packets_.data(), count}) {
        prefetch_headers(packet);
        bytes += packet->pkt_len;
    }
    PortCounters& counters = counters_.ports[port];
    counters.rx_packets.add(count);
    counters.rx_bytes.add(bytes);
    counters.rx_full_bursts.add(count == kRxBurstPackets ? 1 : 0);
    return {packets_.data(), count};
}

Burst Rx::take_over(std::uint8_t sender) noexcept {
    rte_ring* ring = config_.hand_over_from[sender];
    if (ring == nullptr) {
        return {};
    }
    const unsigned count = rte_ring_sc_dequeue_burst(
        ring, reinterpret_cast<void**>(packets_.data()), kRxBurstPackets, nullptr);
    for (const rte_mbuf* packet : Burst{packets_.data(), count}) {
        prefetch_headers(packet);
    }
    counters_.taken_over.add(count);
    return {packets_.data(), count};
}

void Rx::sample_queues() noexcept {
    for (std::uint8_t port = 0; port < config_.port_count; ++port) {
        const WorkerPort& from = config_.ports[port];
        const int waiting = rte_eth_rx_queue_count(from.port_id, from.rx_queue);
        PortCounters& counters = counters_.ports[port];
        counters.rx_queue_supported.set(waiting >= 0 ? 1 : 0);
        counters.rx_queue_packets.set(waiting >= 0 ? static_cast<std::uint64_t>(waiting) : 0);
    }
}

}  // namespace penstock
