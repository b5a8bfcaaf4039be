#include "penstock_bench/traffic.h"

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

namespace penstock::bench {
namespace {

/// Longer than the relay holds any packet back.
constexpr double kQuietSeconds = 0.003;
constexpr double kSettleSecondsMax = 2;

}  // namespace

Traffic::Traffic(const Port& to,
                 const Port& from,
                 rte_mempool& pool,
                 std::vector<std::uint8_t> frame,
                 std::uint32_t copies)
    : to_(to.queue_of(0)),
      from_(from.queue_of(0)),
      pool_(pool),
      frame_(std::move(frame)),
      copies_(copies) {}

TrafficCounts Traffic::run(double packets_per_second, double seconds) {
    const auto hz = static_cast<double>(rte_get_tsc_hz());
    const bool is_paced = std::isfinite(packets_per_second);
    const double packets_per_cycle = is_paced ? packets_per_second / hz : 0;
    // Receiving has to keep up with the copies of what was sent.
    const std::uint32_t bursts_max = 2 * (copies_ + 1);
    counts_ = {};
    skipped_ = 0;
    const std::uint64_t began = rte_rdtsc();
    const auto cycles = static_cast<std::uint64_t>(seconds * hz);
    for (std::uint64_t passed = 0; passed < cycles; passed = rte_rdtsc() - began) {
        if (is_paced) {
            send_due(static_cast<std::uint64_t>(packets_per_cycle * static_cast<double>(passed)));
        } else {
            counts_.sent += send(kBurst);
            counts_.due = counts_.sent;
        }
        for (std::uint32_t i = 0; i < bursts_max && receive() == kBurst; ++i) {
        }
    }
    counts_.in_time = counts_.received;
    settle();
    return counts_;
}

/// Who was stalled goes on at its rate and does not make up for it: a burst at the speed of memory
/// would try the wire's queues and not the relay.
void Traffic::send_due(std::uint64_t due) noexcept {
    const std::uint64_t behind = due - std::min(due, counts_.due + skipped_);
    skipped_ += behind - std::min<std::uint64_t>(behind, kBurst);
    const auto burst = static_cast<std::uint16_t>(std::min<std::uint64_t>(behind, kBurst));
    if (burst > 0) {
        counts_.due += burst;
        counts_.sent += send(burst);
    }
}

void Traffic::settle() noexcept {
    const auto hz = static_cast<double>(rte_get_tsc_hz());
    const std::uint64_t began = rte_rdtsc();
    std::uint64_t quiet_since = began;
    std::uint64_t now = began;
    while (static_cast<double>(now - quiet_since) < kQuietSeconds * hz &&
           static_cast<double>(now - began) < kSettleSecondsMax * hz) {
        const bool any = receive() > 0;
        now = rte_rdtsc();
        quiet_since = any ? now : quiet_since;
    }
}

std::uint16_t Traffic::send(std::uint16_t packets) noexcept {
    std::array<rte_mbuf*, kBurst> burst;
    if (rte_pktmbuf_alloc_bulk(&pool_, burst.data(), packets) != 0) {
        return 0;
    }
    for (std::uint16_t i = 0; i < packets; ++i) {
        std::memcpy(rte_pktmbuf_mtod(burst[i], void*), frame_.data(), frame_.size());
        burst[i]->data_len = static_cast<std::uint16_t>(frame_.size());
        burst[i]->pkt_len = burst[i]->data_len;
    }
    const std::uint16_t sent = rte_eth_tx_burst(to_.port_id, to_.queue, burst.data(), packets);
    if (sent < packets) {
        rte_pktmbuf_free_bulk(burst.data() + sent, packets - sent);
    }
    return sent;
}

std::uint16_t Traffic::receive() noexcept {
    std::array<rte_mbuf*, kBurst> burst;
    const std::uint16_t count = rte_eth_rx_burst(from_.port_id, from_.queue, burst.data(), kBurst);
    // Told from other traffic of the network by its length: as our frames, or padded to the
    // shortest.
    const auto bytes = static_cast<std::uint32_t>(frame_.size());
    constexpr std::uint32_t kFrameBytesMin = RTE_ETHER_MIN_LEN - RTE_ETHER_CRC_LEN;
    for (std::uint16_t i = 0; i < count; ++i) {
        const std::uint32_t its = burst[i]->pkt_len;
        counts_.received += its == bytes || its == std::max(bytes, kFrameBytesMin) ? 1 : 0;
    }
    rte_pktmbuf_free_bulk(burst.data(), count);
    return count;
}

}  // namespace penstock::bench
