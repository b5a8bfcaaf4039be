#include "data_path/packet_copy.h"

#include "data_path/packet_headers.h"
#include "dpdk/packet_pool.h"
#include "support/packet_builder.h"

#include <gtest/gtest.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace penstock {
namespace {

class PacketCopy : public testing::TestWithParam<CopyShape> {
  protected:
    PacketCopy() : pool_(PacketPool::create("packet_copy_test", 255, 2176, 0).value()) {}
    ~PacketCopy() override { EXPECT_EQ(pool_.in_use(), 0U); }

    /// A stored packet with this payload.
    Slot store(const Bytes& payload) {
        rte_mbuf* packet = rte_pktmbuf_alloc(pool_.get());
        const auto bytes = static_cast<std::uint16_t>(payload.size());
        std::copy(payload.begin(),
                  payload.end(),
                  reinterpret_cast<std::uint8_t*>(rte_pktmbuf_append(packet, bytes)));
        const auto sum = static_cast<std::uint16_t>(~internet_checksum(payload));
        return {.packet = packet,
                .payload_bytes = bytes,
                .payload_sum = static_cast<std::uint16_t>(sum << 8U | sum >> 8U),
                .arrival_ticks = 0};
    }

    PacketPool pool_;
};

TEST_P(PacketCopy, CopiesSayWhatTheyMustAndTouchNothingElse) {
    for (const std::size_t bytes : {1U, 2U, 17U, 63U, 64U, 65U, 1316U, 1472U}) {
        const Bytes payload = packet().payload(bytes, 5).payload_bytes();
        const Slot slot = store(payload);
        constexpr std::size_t kCopies = 7;
        const CommonHeaders common =
            make_common_headers({{2, 0, 0, 0, 0, 1}}, IpAddress::v4(0x0a000001));
        const CopySource source{.common = common, .udp_port = to_network(std::uint16_t{20000})};
        std::vector<FlowHeaders> headers;
        for (std::uint32_t i = 0; i < kCopies; ++i) {
            headers.push_back(
                make_flow_headers({.source_mac = {{2, 0, 0, 0, 0, 1}},
                                   .next_hop_mac = {{2, 0, 0, 0, 1, std::uint8_t(i)}},
                                   .source = {IpAddress::v4(0x0a000001), 20000},
                                   .destination = {IpAddress::v4(0x0a090000 + i), 5000}}));
        }
        std::vector<rte_mbuf*> copies(kCopies + kReadAheadPackets, slot.packet);
        ASSERT_EQ(
            rte_mempool_get_bulk(pool_.get(), reinterpret_cast<void**>(copies.data()), kCopies), 0);
        make_copies(std::span{copies}.first(kCopies), source, headers.data(), slot, GetParam());

        for (std::uint32_t i = 0; i < kCopies; ++i) {
            rte_mbuf* copy = copies[i];
            const bool chained = GetParam() == CopyShape::chained;
            EXPECT_EQ(copy->nb_segs, chained ? 2 : 1);
            EXPECT_EQ(copy->next, chained ? slot.packet : nullptr);
            EXPECT_EQ(copy->pkt_len, 42 + bytes);
            EXPECT_EQ(copy->data_len, chained ? 42 : 42 + bytes);
            EXPECT_EQ(copy->data_off, RTE_PKTMBUF_HEADROOM);
            EXPECT_EQ(copy->refcnt, 1);
            EXPECT_EQ(copy->port, RTE_MBUF_PORT_INVALID);
            EXPECT_EQ(copy->ol_flags, 0U);
            EXPECT_EQ(copy->pool, pool_.get());
            const auto* data = rte_pktmbuf_mtod(copy, const std::uint8_t*);
            EXPECT_EQ(static_cast<const void*>(data),
                      static_cast<const std::uint8_t*>(copy->buf_addr) + RTE_PKTMBUF_HEADROOM);
            Bytes frame(data, data + copy->data_len);
            if (chained) {
                frame.insert(frame.end(), payload.begin(), payload.end());
            }
            const ParsedPacket parsed = parse_packet(frame);
            EXPECT_TRUE(parsed.ip_checksum_right && parsed.udp_checksum_right &&
                        parsed.lengths_right);
            EXPECT_EQ(parsed.payload, payload);
            EXPECT_EQ(parsed.destination, (Endpoint{IpAddress::v4(0x0a090000 + i), 5000}));
            EXPECT_EQ(parsed.source, (Endpoint{IpAddress::v4(0x0a000001), 20000}));
            EXPECT_EQ(parsed.from_mac, (MacAddress{{2, 0, 0, 0, 0, 1}}));
            EXPECT_EQ(parsed.to_mac, (MacAddress{{2, 0, 0, 0, 1, std::uint8_t(i)}}));
        }
        // What is shared stays as it was.
        EXPECT_EQ(slot.packet->data_len, bytes);
        EXPECT_EQ(slot.packet->next, nullptr);
        EXPECT_EQ(slot.packet->refcnt, 1);
        EXPECT_EQ(std::memcmp(rte_pktmbuf_mtod(slot.packet, const void*), payload.data(), bytes),
                  0);
        for (std::uint32_t i = 0; i < kCopies; ++i) {
            rte_pktmbuf_free_seg(copies[i]);
        }
        rte_pktmbuf_free(slot.packet);
    }
}

INSTANTIATE_TEST_SUITE_P(Shapes,
                         PacketCopy,
                         testing::Values(CopyShape::chained, CopyShape::self_contained));

}  // namespace
}  // namespace penstock
