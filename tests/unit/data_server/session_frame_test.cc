#include "data_server/session_frame.h"

#include "dpdk/packet_pool.h"
#include "support/packet_builder.h"

#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace penstock {
namespace {

constexpr std::uint16_t kDataRoom = RTE_PKTMBUF_HEADROOM + 256;

class SessionFrameTest : public testing::Test {
  protected:
    void SetUp() override {
        auto made = PacketPool::create("session_frames", 15, kDataRoom, -1);
        ASSERT_TRUE(made.ok()) << made.error().message;
        pool_.emplace(std::move(made).value());
        frame_ = rte_pktmbuf_alloc(pool_->get());
    }
    void TearDown() override { rte_pktmbuf_free(frame_); }

    void fill(const Bytes& bytes) {
        rte_pktmbuf_reset(frame_);
        frame_->port = 3;
        std::memcpy(rte_pktmbuf_append(frame_, static_cast<std::uint16_t>(bytes.size())),
                    bytes.data(),
                    bytes.size());
    }
    [[nodiscard]] std::span<const std::uint8_t> bytes() const {
        return {rte_pktmbuf_mtod(frame_, const std::uint8_t*), frame_->data_len};
    }

    std::optional<PacketPool> pool_;
    rte_mbuf* frame_ = nullptr;
};

PacketBuilder message() {
    return packet()
        .from_mac({{2, 0, 0, 0, 0, 9}})
        .from("10.91.0.100", 40'000)
        .to("10.91.0.1", 20'000)
        .payload("twelve bytes");
}

TEST_F(SessionFrameTest, ReadsWhereAMessageCameFromAndWhatItSays) {
    fill(message().bytes());
    const auto frame = read_session_frame(*frame_);
    ASSERT_TRUE(frame.has_value());
    EXPECT_EQ(frame->port, 3);
    EXPECT_EQ(to_string(frame->source_mac), "02:00:00:00:00:09");
    EXPECT_EQ(to_string(frame->source), "10.91.0.100:40000");
    EXPECT_EQ(to_string(frame->destination), "10.91.0.1:20000");
    EXPECT_EQ(frame->payload.size(), 12U);
}

TEST_F(SessionFrameTest, LeavesEthernetPaddingOut) {
    fill(message().trailer(20).bytes());
    const auto frame = read_session_frame(*frame_);
    ASSERT_TRUE(frame.has_value());
    EXPECT_EQ(frame->payload.size(), 12U);
}

TEST_F(SessionFrameTest, ReadsBehindAPriorityTag) {
    const Bytes whole = message().vlan(0xe000).bytes();
    fill(whole);
    const auto frame = read_session_frame(*frame_);
    ASSERT_TRUE(frame.has_value());
    EXPECT_EQ(to_string(frame->source), "10.91.0.100:40000");
    EXPECT_EQ(frame->payload.size(), 12U);
    for (std::size_t size = 0; size < whole.size(); ++size) {
        fill({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)});
        EXPECT_FALSE(read_session_frame(*frame_).has_value()) << size;
    }
}

TEST_F(SessionFrameTest, FrameCutAtAnyByteLeadsNowhere) {
    const Bytes whole = message().bytes();
    for (std::size_t size = 0; size < whole.size(); ++size) {
        fill({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)});
        EXPECT_FALSE(read_session_frame(*frame_).has_value()) << size;
    }
}

TEST_F(SessionFrameTest, RefusesWhatIsNotUdpInIpv4) {
    for (const Bytes& bytes : {message().ethertype(0x86dd).bytes(),
                               message().version(6).bytes(),
                               message().options(Bytes(4, 1)).bytes(),
                               message().protocol(6).bytes(),
                               message().udp_length(7).bytes(),
                               message().udp_length(200).bytes()}) {
        fill(bytes);
        EXPECT_FALSE(read_session_frame(*frame_).has_value());
    }
}

TEST_F(SessionFrameTest, WritesAFrameThatIsRightToTheByte) {
    const std::string text = "sixteen letters!";
    ASSERT_TRUE(write_session_frame(*frame_,
                                    {.source_mac = {{2, 0, 0, 0, 0, 1}},
                                     .next_hop_mac = {{2, 0, 0, 0, 0, 9}},
                                     .source = *parse_endpoint("10.91.0.1:20000"),
                                     .destination = *parse_endpoint("10.91.0.100:40000")},
                                    std::as_bytes(std::span(text))));
    const ParsedPacket parsed = parse_packet(bytes());
    EXPECT_TRUE(parsed.lengths_right);
    EXPECT_TRUE(parsed.ip_checksum_right);
    EXPECT_TRUE(parsed.udp_checksum_right);
    EXPECT_NE(parsed.udp_checksum, 0);
    EXPECT_EQ(parsed.ttl, 64);
    EXPECT_EQ(parsed.fragment, 0x4000);
    EXPECT_EQ(to_string(parsed.to_mac), "02:00:00:00:00:09");
    EXPECT_EQ(to_string(parsed.from_mac), "02:00:00:00:00:01");
    EXPECT_EQ(to_string(parsed.source), "10.91.0.1:20000");
    EXPECT_EQ(to_string(parsed.destination), "10.91.0.100:40000");
    EXPECT_EQ(std::string(parsed.payload.begin(), parsed.payload.end()), text);
}

TEST_F(SessionFrameTest, WritesNothingWhereThereIsNoRoom) {
    const std::string text(256, 'x');
    EXPECT_FALSE(write_session_frame(*frame_, FlowAddresses{}, std::as_bytes(std::span(text))));
    EXPECT_EQ(frame_->data_len, 0);
}

}  // namespace
}  // namespace penstock
