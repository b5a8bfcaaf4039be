#include "data_path/drop.h"

#include "dpdk/packet_pool.h"

#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include <array>

namespace penstock {
namespace {

TEST(Drop, FreesEverySegmentAndCountsPackets) {
    const PacketPool pool = PacketPool::create("drop_test", 63, 256, 0).value();
    std::array<rte_mbuf*, 3> packets{};
    ASSERT_EQ(rte_pktmbuf_alloc_bulk(pool.get(), packets.data(), packets.size()), 0);
    ASSERT_EQ(rte_pktmbuf_chain(packets[1], rte_pktmbuf_alloc(pool.get())), 0);
    WorkerCounters counters;
    drop(packets, DropReason::tx_queue_full, counters);
    EXPECT_EQ(pool.in_use(), 0U);
    EXPECT_EQ(counters.drops[static_cast<std::size_t>(DropReason::tx_queue_full)].read(), 3U);
    count_lost(4, DropReason::fanout_overrun, counters);
    EXPECT_EQ(counters.drops[static_cast<std::size_t>(DropReason::fanout_overrun)].read(), 4U);
}

}  // namespace
}  // namespace penstock
