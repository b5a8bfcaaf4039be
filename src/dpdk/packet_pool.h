#pragma once

#include <penstock/result.h>

#include <cstdint>
#include <memory>
#include <string>

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

/// How large they become.
struct PoolPlan {
    std::uint32_t payload_mbufs = 0;
    std::uint16_t payload_data_room = 0;
    std::uint32_t copy_mbufs = 0;  // per worker
    std::uint16_t copy_data_room = 0;
    std::uint64_t bytes = 0;         // of all pools together
    std::uint32_t ring_packets = 0;  // that all streams' rings together may be granted
};

/// Divides the memory: what the NICs, rings and caches can hold at once comes first, and 70 % of
/// what is left may be granted to streams for history, so that a burst finds mbufs.
/// Errors: exhausted, naming the memory that would do. Pure.
Result<PoolPlan> plan_pools(const PoolDemand& demand);
/// "payload 40000 x 2432 B, ...": for the log at start.
std::string to_string(const PoolPlan& plan);

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
