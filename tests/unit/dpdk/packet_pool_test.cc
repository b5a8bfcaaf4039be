#include "dpdk/packet_pool.h"

#include "dpdk/port_limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rte_mbuf.h>

namespace penstock {
namespace {

using testing::HasSubstr;

PoolDemand demand() {
    PoolDemand demand;
    demand.memory_bytes = 256U << 20U;
    demand.other_bytes = 16U << 20U;
    return demand;
}

TEST(PoolPlan, FillsTheMemoryAndGrantsMostOfItToHistory) {
    const Result<PoolPlan> plan = plan_pools(demand());
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    const std::uint64_t bytes = plan->payload_bytes + plan->copy_bytes;
    EXPECT_LE(bytes + demand().other_bytes, demand().memory_bytes);
    EXPECT_GT(bytes, demand().memory_bytes / 2);
    EXPECT_GT(plan->ring_packets, plan->payload_mbufs / 2);
    EXPECT_LT(plan->ring_packets, plan->payload_mbufs * 7 / 10);
    EXPECT_EQ(plan->payload_data_room, RTE_MBUF_DEFAULT_BUF_SIZE);
    EXPECT_EQ(plan->copy_data_room, RTE_PKTMBUF_HEADROOM + 64 + 256);
    EXPECT_GE(plan->copy_mbufs, 1024U + 512U);
}

TEST(PoolPlan, LargerFramesMeanFewerOfThem) {
    PoolDemand jumbo = demand();
    jumbo.mtu = 9000;
    EXPECT_GE(plan_pools(jumbo)->payload_data_room, RTE_PKTMBUF_HEADROOM + 9018);
    EXPECT_LT(plan_pools(jumbo)->payload_mbufs, plan_pools(demand())->payload_mbufs / 2);
}

TEST(PoolPlan, CopiesOfEveryPayloadHoldTheLargestThatCanBeReceived) {
    PoolDemand all_inline = demand();
    all_inline.inline_payload_bytes_max = all_inline.mtu;
    const Result<PoolPlan> plan = plan_pools(all_inline);
    ASSERT_TRUE(plan.ok()) << plan.error().message;
    EXPECT_GE(plan->copy_data_room, RTE_PKTMBUF_HEADROOM + 64 + plan->payload_data_room);
}

TEST(PoolPlan, MoreWorkersLeaveLessHistory) {
    PoolDemand four = demand();
    four.workers = 4;
    four.ports = 2;
    EXPECT_LT(plan_pools(four)->ring_packets, plan_pools(demand())->ring_packets);
}

TEST(PoolPlan, CopiesFromTheReceivePoolComeOutOfIt) {
    PoolDemand xdp = demand();
    xdp.copies_from_rx_pool = true;
    EXPECT_LT(plan_pools(xdp)->ring_packets, plan_pools(demand())->ring_packets);
}

TEST(PoolPlan, SaysHowMuchMemoryWouldDoAndIsRight) {
    PoolDemand small = demand();
    small.memory_bytes = 20U << 20U;
    const Result<PoolPlan> refused = plan_pools(small);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, ErrorCode::exhausted);
    EXPECT_THAT(refused.error().message, HasSubstr("20MiB"));
    const std::string& message = refused.error().message;
    const std::size_t at = message.find("--memory ");
    ASSERT_NE(at, std::string::npos);
    small.memory_bytes = std::stoull(message.substr(at + 9)) << 20U;
    EXPECT_TRUE(plan_pools(small).ok());
    small.memory_bytes -= 2U << 20U;
    EXPECT_FALSE(plan_pools(small).ok());
}

TEST(PoolPlan, EveryPlaceAPacketCanBeComesBeforeHistory) {
    PoolDemand wanted = demand();
    wanted.workers = 2;
    wanted.ports = 3;
    wanted.rx_descriptors = 512;
    wanted.tx_descriptors = 2048;
    wanted.control_rings = 5000;
    const PoolPlan plan = *plan_pools(wanted);
    EXPECT_EQ(plan.reserves.rx_queues, 2U * 3U * 512U);
    EXPECT_EQ(plan.reserves.tx_queues, 2U * 3U * 2048U);
    EXPECT_EQ(plan.reserves.rings, 5000U);
    EXPECT_EQ(plan.reserves.caches, 3U * 768U);  // two workers' and control's
    EXPECT_EQ(plan.reserves.fan_outs, 2U * (1024U + kTxBurstPackets + kRxBurstPackets));
    EXPECT_EQ(plan.reserves.copies, 0U);
    EXPECT_EQ(plan.ring_packets, (plan.payload_mbufs - plan.reserves.sum()) * 7 / 10);
}

TEST(PoolPlan, IsNotShortWhileHistoryKeepsToWhatWasGranted) {
    for (const std::uint64_t mebibytes : {32U, 64U, 256U, 4096U}) {
        PoolDemand wanted = demand();
        wanted.memory_bytes = mebibytes << 20U;
        wanted.other_bytes = 4U << 20U;
        const PoolPlan plan = *plan_pools(wanted);
        const std::uint64_t most = plan.reserves.sum() - plan.reserves.caches + plan.ring_packets;
        EXPECT_GT(plan.payload_mbufs - most, plan.payloads_low) << mebibytes;
        EXPECT_GT(plan.payloads_low, plan.reserves.caches) << mebibytes;
    }
}

TEST(PoolPlan, IsPrintedWithEveryTerm) {
    PoolDemand wanted = demand();
    wanted.control_rings = 3210;
    const PoolPlan plan = *plan_pools(wanted);
    std::string text;
    for (const std::string& line : lines_of(plan)) {
        EXPECT_LE(line.size(), 300U);
        text += line + '\n';
    }
    for (const std::uint64_t term : {std::uint64_t{plan.payload_mbufs},
                                     plan.reserves.rx_queues,
                                     plan.reserves.tx_queues,
                                     plan.reserves.rings,
                                     plan.reserves.caches,
                                     plan.reserves.fan_outs,
                                     plan.payload_mbufs - plan.reserves.sum(),
                                     std::uint64_t{plan.ring_packets},
                                     std::uint64_t{plan.payloads_low},
                                     std::uint64_t{plan.copy_mbufs}}) {
        EXPECT_THAT(text, HasSubstr(std::to_string(term)));
    }
}

TEST(PacketPool, CountsWhatIsOut) {
    const PacketPool pool = PacketPool::create("pool_test", 1023, 256, 0).value();
    EXPECT_EQ(pool.in_use(), 0U);
    rte_mbuf* one = rte_pktmbuf_alloc(pool.get());
    EXPECT_EQ(pool.in_use(), 1U);
    rte_pktmbuf_free(one);
    EXPECT_EQ(pool.in_use(), 0U);
}

TEST(PacketPool, ElementsLieOnCacheLines) {
    const PacketPool pool =
        PacketPool::create("aligned_test", 15, RTE_PKTMBUF_HEADROOM + 100, 0).value();
    rte_mbuf* one = rte_pktmbuf_alloc(pool.get());
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(one) % RTE_CACHE_LINE_SIZE, 0U);
    EXPECT_EQ(rte_pktmbuf_mtod(one, std::uintptr_t) % RTE_CACHE_LINE_SIZE, 0U);
    rte_pktmbuf_free(one);
}

TEST(PacketPool, RefusesMoreThanThereIsWithARemedy) {
    const Result<PacketPool> pool = PacketPool::create("huge_test", 1U << 20U, 2176, 0);
    ASSERT_FALSE(pool.ok());
    EXPECT_EQ(pool.error().code, ErrorCode::exhausted);
    EXPECT_THAT(pool.error().message, HasSubstr("--memory"));
}

}  // namespace
}  // namespace penstock
