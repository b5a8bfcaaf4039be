#include "penstock_bench/stamped_content.h"

#include "data_path/checksum.h"
#include "data_path/packet_headers.h"
#include "rig/relay_rig.h"

#include <gtest/gtest.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <new>

namespace penstock::bench {
namespace {

/// An mbuf over memory of its own: no pool, no DPDK.
struct LooseMbuf {
    LooseMbuf() {
        mbuf.buf_addr = memory.data();
        mbuf.nb_segs = 1;
    }
    std::array<std::uint8_t, 2'048> memory{};
    rte_mbuf& mbuf = *new (&room_) rte_mbuf();  // no member: it ends in an array without length

  private:
    alignas(rte_mbuf) std::array<std::byte, sizeof(rte_mbuf)> room_;
};

CaptureContent content_of(std::uint32_t payload_bytes) {
    CaptureContent content;
    content.to = RelayRig::address_of(0);
    content.from = RelayRig::publisher();
    content.payload_bytes = payload_bytes;
    return content;
}

constexpr Stamp kStamp{.due_tsc = 0x0123'4567'89ab'cdef, .number = 70'007, .late_cycles = 12'345};

TEST(StampedContent, HasValidChecksumsWhateverItsStamp) {
    for (const std::uint32_t payload_bytes : {16U, 23U, 1'472U}) {
        const StampedContent content(content_of(payload_bytes));
        LooseMbuf packet;
        for (const Stamp& stamp : {Stamp{}, kStamp, Stamp{~0ULL, ~0U, ~0U}}) {
            content.write(packet.mbuf, stamp);
            EXPECT_EQ(packet.mbuf.pkt_len, kIpv4FrameHeaderBytes + payload_bytes);
            EXPECT_EQ(packet.mbuf.data_len, packet.mbuf.pkt_len);
            const auto* ip =
                reinterpret_cast<const rte_ipv4_hdr*>(packet.memory.data() + kEthernetBytes);
            rte_udp_hdr udp{};
            std::memcpy(&udp, ip + 1, sizeof(udp));
            store_word(packet.memory.data() + kUdpChecksumAt, 0);
            EXPECT_EQ(rte_ipv4_udptcp_cksum(ip, ip + 1), udp.dgram_cksum) << payload_bytes;
        }
    }
}

TEST(StampedContent, IsReadFromACopyInOnePiece) {
    const StampedContent content(content_of(22));
    LooseMbuf packet;
    content.write(packet.mbuf, kStamp);
    const Stamp stamp = StampedContent::read(packet.mbuf);
    EXPECT_EQ(stamp.due_tsc, kStamp.due_tsc);
    EXPECT_EQ(stamp.number, kStamp.number);
    EXPECT_EQ(stamp.late_cycles, kStamp.late_cycles);
}

TEST(StampedContent, IsReadFromACopyThatSharesItsPayload) {
    const StampedContent content(content_of(1'316));
    LooseMbuf payload;
    content.write(payload.mbuf, kStamp);
    payload.mbuf.data_off = kIpv4FrameHeaderBytes;
    LooseMbuf headers;
    headers.mbuf.nb_segs = 2;
    headers.mbuf.next = &payload.mbuf;
    EXPECT_EQ(StampedContent::read(headers.mbuf).number, kStamp.number);
}

}  // namespace
}  // namespace penstock::bench
