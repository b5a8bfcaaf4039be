#include "dpdk/packet_pool.h"

#include "base/cache_line.h"
#include "base/units.h"
#include "dpdk/eal.h"
#include "dpdk/port.h"

#include <fmt/format.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>

#include <algorithm>

namespace penstock {
namespace {

constexpr std::uint32_t kCacheMbufs = 512;
static_assert(kCacheMbufs <= RTE_MEMPOOL_CACHE_MAX_SIZE);
/// What one lcore's cache may hold before it gives mbufs back (rte_mempool.h: 1.5 times its size).
constexpr std::uint32_t kCachedMbufsMax = kCacheMbufs * 3 / 2;
/// Packets of unfinished fan-outs beyond their rings, per worker.
constexpr std::uint32_t kSuspendedPackets = 1024;
constexpr std::uint64_t kGrantedPercent = 70;
constexpr std::uint64_t kLowPercent = 5;
/// rte_mempool's own head of each element, its tail, and the mbuf itself.
constexpr std::uint64_t kElementOverheadBytes = 64 + sizeof(rte_mbuf);

constexpr std::uint32_t round_up(std::uint32_t value, std::uint32_t step) noexcept {
    return (value + step - 1) / step * step;
}

std::uint16_t data_room_for(std::uint32_t frame_bytes) noexcept {
    return static_cast<std::uint16_t>(
        RTE_PKTMBUF_HEADROOM + round_up(frame_bytes, static_cast<std::uint32_t>(kCacheLineBytes)));
}

/// rte_pktmbuf_pool_create(), but without hugepages packets may cross pages: addresses are virtual
/// then and contiguous all the same, and one packet a page would waste half of the memory.
rte_mempool* make_pool(const std::string& name,
                       std::uint32_t mbufs,
                       std::uint32_t cache,
                       std::uint16_t data_room,
                       int socket) noexcept {
    const unsigned flags = rte_eal_has_hugepages() != 0 ? 0 : RTE_MEMPOOL_F_NO_IOVA_CONTIG;
    rte_mempool* pool = rte_mempool_create_empty(name.c_str(),
                                                 mbufs,
                                                 sizeof(rte_mbuf) + data_room,
                                                 cache,
                                                 sizeof(rte_pktmbuf_pool_private),
                                                 socket,
                                                 flags);
    if (pool == nullptr) {
        return nullptr;
    }
    rte_pktmbuf_pool_private data{};
    data.mbuf_data_room_size = data_room;
    if (rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), nullptr) != 0) {
        rte_mempool_free(pool);
        return nullptr;
    }
    rte_pktmbuf_pool_init(pool, &data);
    if (const int objects = rte_mempool_populate_default(pool); objects < 0) {
        rte_mempool_free(pool);
        rte_errno = -objects;
        return nullptr;
    }
    rte_mempool_obj_iter(pool, rte_pktmbuf_init, nullptr);
    return pool;
}

}  // namespace

Result<PoolPlan> plan_pools(const PoolDemand& demand) {
    PoolPlan plan;
    plan.memory_bytes = demand.memory_bytes;
    plan.other_bytes = demand.other_bytes;
    plan.workers = demand.workers;
    // Frames of a PF_PACKET ring are up to one alignment step longer than what they hold.
    constexpr std::uint32_t kRingAlignment = 16;
    plan.payload_data_room =
        std::max<std::uint16_t>(data_room_for(demand.mtu + kFrameOverheadBytes + kRingAlignment),
                                RTE_MBUF_DEFAULT_BUF_SIZE);
    // Where all payloads are copied, some are larger than the MTU: no virtual device, and not every
    // NIC, refuses a frame that the packet it is received into can hold.
    const std::uint32_t inline_bytes_max = demand.inline_payload_bytes_max < demand.mtu
                                               ? demand.inline_payload_bytes_max
                                               : plan.payload_data_room;
    plan.copy_data_room = data_room_for(kCopyHeaderBytes + inline_bytes_max);
    const std::uint32_t burst = kTxBurstPackets + kRxBurstPackets;
    // One descriptor may be one whole copy (inline), so all of them count.
    // And a burst of them is ready before it is needed.
    plan.copy_mbufs =
        demand.ports * (demand.tx_descriptors + burst + kTxBurstPackets) + kCachedMbufsMax;
    if (demand.workers > 1) {
        // Copies of a share are chained to mbufs from here, too: at worst each to one of its own,
        // where descriptors are counted by the packet; and one for each unfinished fan-out.
        plan.copy_mbufs += demand.ports * demand.tx_descriptors + kSuspendedPackets;
    }

    const std::uint64_t payload_bytes = kElementOverheadBytes + plan.payload_data_room;
    const std::uint64_t copy_bytes = kElementOverheadBytes + plan.copy_data_room;
    const std::uint64_t queues = std::uint64_t{demand.workers} * demand.ports;
    plan.reserves = {
        .rx_queues = queues * demand.rx_descriptors,
        .tx_queues = queues * demand.tx_descriptors,
        .rings = demand.control_rings,
        .caches = (demand.workers + 1) * std::uint64_t{kCachedMbufsMax},
        .fan_outs = demand.workers * std::uint64_t{kSuspendedPackets + burst},
        .copies = demand.copies_from_rx_pool ? demand.workers * std::uint64_t{plan.copy_mbufs} : 0};
    const std::uint64_t fixed = plan.reserves.sum();
    const std::uint64_t copies = demand.workers * plan.copy_mbufs * copy_bytes;
    // Least: room for one short history beside what is fixed.
    constexpr std::uint64_t kLeastGranted = 512;
    const std::uint64_t least = fixed + kLeastGranted * 100 / kGrantedPercent;
    const std::uint64_t needed = demand.other_bytes + copies + least * payload_bytes;
    // Pages and mempool's chunks leave some of it unused.
    const std::uint64_t usable = demand.memory_bytes / 100 * 92;
    if (usable < needed) {
        constexpr std::uint64_t kMebibyte = 1U << 20U;
        return Error{
            ErrorCode::exhausted,
            fmt::format("{} of memory do not hold the queues and pools of {} workers on {} "
                        "ports: give --memory {}MiB or fewer descriptors",
                        format_bytes(demand.memory_bytes),
                        demand.workers,
                        demand.ports,
                        needed / 92 * 100 / kMebibyte + 1)};
    }
    const std::uint64_t mbufs = (usable - demand.other_bytes - copies) / payload_bytes;
    plan.payload_mbufs = static_cast<std::uint32_t>(mbufs);
    plan.ring_packets = static_cast<std::uint32_t>((mbufs - fixed) * kGrantedPercent / 100);
    // What lies in the caches of others counts as free, but not for who needs it.
    plan.payloads_low =
        static_cast<std::uint32_t>(plan.reserves.caches + (mbufs - fixed) * kLowPercent / 100);
    plan.payload_bytes = mbufs * payload_bytes;
    plan.copy_bytes = copies;
    return plan;
}

std::vector<std::string> lines_of(const PoolPlan& plan) {
    constexpr std::uint64_t kMebibyte = 1U << 20U;
    const PoolReserves& reserves = plan.reserves;
    return {
        fmt::format("memory {}: payload pool {} MiB, copy pools {} MiB, streams, flows and rings "
                    "{} MiB, left to pages and chunks {} MiB",
                    format_bytes(plan.memory_bytes),
                    plan.payload_bytes / kMebibyte,
                    plan.copy_bytes / kMebibyte,
                    plan.other_bytes / kMebibyte,
                    (plan.memory_bytes - plan.payload_bytes - plan.copy_bytes - plan.other_bytes) /
                        kMebibyte),
        fmt::format(
            "payload pool: {} packets of {} bytes = {} for receive queues + {} for transmit "
            "queues + {} for rings between threads + {} for caches + {} for unfinished "
            "fan-outs + {} for copies + {} for streams",
            plan.payload_mbufs,
            plan.payload_data_room,
            reserves.rx_queues,
            reserves.tx_queues,
            reserves.rings,
            reserves.caches,
            reserves.fan_outs,
            reserves.copies,
            plan.payload_mbufs - reserves.sum()),
        fmt::format(
            "history: {} packets may be kept, {} % of those for streams; oldest are evicted "
            "when fewer than {} of the pool are free",
            plan.ring_packets,
            kGrantedPercent,
            plan.payloads_low),
        fmt::format("copy pools: {}, one a worker, of {} packets of {} bytes",
                    plan.workers,
                    plan.copy_mbufs,
                    plan.copy_data_room)};
}

Result<PacketPool> PacketPool::create(const std::string& name,
                                      std::uint32_t mbufs,
                                      std::uint16_t data_room,
                                      int socket) {
    take_dpdk_error();
    // A cache larger than two thirds of the pool would be refused (rte_mempool.h).
    const std::uint32_t cache = std::min(kCacheMbufs, mbufs * 2 / 3);
    rte_mempool* pool = make_pool(name, mbufs, cache, data_room, socket);
    if (pool == nullptr) {
        return Error{ErrorCode::exhausted,
                     fmt::format("packet pool {} of {} x {} bytes: {}; give more --memory",
                                 name,
                                 mbufs,
                                 data_room,
                                 rte_strerror(rte_errno))};
    }
    return PacketPool{pool};
}

std::uint32_t PacketPool::in_use() const noexcept { return rte_mempool_in_use_count(pool_.get()); }

void PacketPool::Free::operator()(rte_mempool* pool) const noexcept { rte_mempool_free(pool); }

}  // namespace penstock
