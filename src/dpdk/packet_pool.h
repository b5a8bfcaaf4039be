#pragma once

#include <penstock/result.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

struct rte_mempool;

namespace penstock {

/// What the pools have to hold. Every figure a count of mbufs unless it says bytes.
struct PoolDemand {
    std::uint64_t memory_bytes = 0;  // of the whole process: EalOptions::memory_bytes
    std::uint64_t other_bytes = 0;   // of it, for streams, flows and rings
    std::uint32_t workers = 1;
    std::uint32_t ports = 1;
    std::uint32_t rx_descriptors = 1024;  // per queue
    std::uint32_t tx_descriptors = 1024;  // per queue
    std::uint32_t control_rings = 0;      // places in the rings between workers and control
    std::uint32_t mtu = 1500;
    std::uint32_t inline_payload_bytes_max = 256;  // largest of the ports that do not always inline
    bool copies_from_rx_pool = false;              // some port's copies come from the payload pool
};

/// What of the payload pool may be anywhere but in a stream's history, at most, in mbufs.
struct PoolReserves {
    std::uint64_t rx_queues = 0;  // every descriptor
    std::uint64_t tx_queues = 0;  // every descriptor: a payload beside each header, or alone
    std::uint64_t rings = 0;      // between workers and control, and between workers
    std::uint64_t caches = 0;     // of the lcores
    std::uint64_t fan_outs = 0;   // unfinished ones whose packet has left its ring; bursts
    std::uint64_t copies = 0;     // of ports whose copies come from this pool
    [[nodiscard]] std::uint64_t sum() const noexcept {
        return rx_queues + tx_queues + rings + caches + fan_outs + copies;
    }
};

/// How large they become.
struct PoolPlan {
    std::uint64_t memory_bytes = 0;  // as in the demand
    std::uint64_t other_bytes = 0;   // as in the demand
    std::uint32_t payload_mbufs = 0;
    std::uint16_t payload_data_room = 0;
    PoolReserves reserves;           // what of payload_mbufs comes before any history
    std::uint32_t ring_packets = 0;  // that all streams' rings together may be granted
    std::uint32_t payloads_low = 0;  // with fewer of payload_mbufs free the pool is short
    std::uint32_t workers = 0;
    std::uint32_t copy_mbufs = 0;  // per worker
    std::uint16_t copy_data_room = 0;
    std::uint64_t payload_bytes = 0;  // of the payload pool
    std::uint64_t copy_bytes = 0;     // of all copy pools
};

/// Divides the memory: what the NICs, rings and caches can hold at once comes first, and 70 % of
/// what is left may be granted to streams for history, so that a burst finds mbufs. When 95 % of it
/// are in use all the same, the pool is short.
/// Errors: exhausted, naming the memory that would do. Pure.
Result<PoolPlan> plan_pools(const PoolDemand& demand);
/// Every term of it, a line each: for the log at start.
std::vector<std::string> lines_of(const PoolPlan& plan);

/// A pool of mbufs. Set-up only; the data path uses get(). Thread: main.
class PacketPool {
  public:
    /// `mbufs`: 1 or more. `data_room`: bytes of each with the headroom. `socket`: NUMA node.
    /// Errors: exhausted.
    static Result<PacketPool> create(const std::string& name,
                                     std::uint32_t mbufs,
                                     std::uint16_t data_room,
                                     int socket);

    [[nodiscard]] rte_mempool* get() const noexcept { return pool_.get(); }
    /// Mbufs that are not free now. Walks every lcore's cache: not for the data path.
    [[nodiscard]] std::uint32_t in_use() const noexcept;

  private:
    struct Free {
        void operator()(rte_mempool* pool) const noexcept;
    };
    explicit PacketPool(rte_mempool* pool) noexcept : pool_(pool) {}
    std::unique_ptr<rte_mempool, Free> pool_;
};

}  // namespace penstock
