#include "data_path/packet_headers.h"
#include "support/packet_builder.h"
#include "support/worker_world.h"
#include "wire/session_messages.h"

#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include <cstring>
#include <ostream>
#include <string>
#include <vector>

namespace penstock {
namespace {

/// What becomes of one frame sent to a worker with one open stream and one consumer.
struct Outcome {
    enum class Kind { relayed, dropped, exception, session_message };
    Kind kind = Kind::relayed;
    DropReason reason{};
};

Outcome drops(DropReason reason) { return {Outcome::Kind::dropped, reason}; }
Outcome to_linux() { return {Outcome::Kind::exception}; }
Outcome is_relayed() { return {Outcome::Kind::relayed}; }
Outcome is_session_message() { return {Outcome::Kind::session_message}; }

struct Row {
    std::string sentence;
    Bytes frame;
    Outcome outcome;
    std::uint64_t flags = 0;
};

void PrintTo(const Row& row, std::ostream* out) { *out << row.sentence; }

PacketBuilder good() { return WorkerWorld::content(100, 1); }

PacketBuilder from_address(std::string_view address) {
    return packet()
        .from(address, WorkerWorld::publisher().port)
        .to(WorkerWorld::stream_address())
        .payload(100, 1);
}

constexpr MacAddress kBroadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
constexpr MacAddress kMulticast{{0x01, 0x00, 0x5e, 0x00, 0x00, 0x01}};
constexpr MacAddress kSomebodyElse{{0x02, 0, 0, 0, 0, 0x77}};

template <typename Message>
Bytes to_payload(const Message& message) {
    const auto bytes = bytes_of(message);
    Bytes payload(bytes.size());
    std::memcpy(payload.data(), bytes.data(), bytes.size());
    return payload;
}

Bytes join_payload() {
    JoinMessage join{};
    join.header = make_header<JoinMessage>(MessageType::join);
    return to_payload(join);
}

Bytes keepalive_payload(std::uint64_t flow_id) {
    KeepaliveMessage keepalive{};
    keepalive.header = make_header<KeepaliveMessage>(MessageType::keepalive);
    keepalive.flow_id = flow_id;
    return to_payload(keepalive);
}

class BadInput : public testing::TestWithParam<Row> {
  protected:
    BadInput() {
        Stream* stream = world.open_stream();
        world.set_publisher(stream, WorkerWorld::publisher(), FlowId{0xf10});
        world.add_flow(stream, 1);
        world.settle();
    }
    void receive() { world.receive_flagged(GetParam().frame, GetParam().flags); }
    /// `relayed_more`: copies of content around the frame.
    void expect_its_fate(std::size_t relayed_more = 0) {
        const Outcome& outcome = GetParam().outcome;
        const auto is = [&outcome](Outcome::Kind kind) { return outcome.kind == kind ? 1U : 0U; };
        EXPECT_EQ(world.sent().size(), relayed_more + is(Outcome::Kind::relayed));
        EXPECT_EQ(world.exceptions().size(), is(Outcome::Kind::exception));
        EXPECT_EQ(world.session_messages().size(), is(Outcome::Kind::session_message));
        EXPECT_EQ(world.dropped_in_all(), is(Outcome::Kind::dropped));
        if (outcome.kind == Outcome::Kind::dropped) {
            EXPECT_EQ(world.dropped(outcome.reason), 1U);
        }
    }

    WorkerWorld world;
};

TEST_P(BadInput, MeetsItsFate) {
    receive();
    world.settle();
    expect_its_fate();
}

// Classify does not look twice at headers like the last content's: here nearly all are.
TEST_P(BadInput, MeetsTheSameFateBetweenContentOfOneBurst) {
    world.receive(good().bytes());
    receive();
    world.receive(good().bytes());
    world.settle();
    expect_its_fate(2);
}

// And it looks at each frame for itself where a burst is of many streams, as the last one was.
TEST_P(BadInput, MeetsTheSameFateAmongManyStreams) {
    constexpr std::uint16_t kOtherPort = WorkerWorld::kFirstStreamPort + 50;
    world.open_published(kOtherPort);
    world.settle();
    world.receive(good().bytes());
    world.receive(packet()
                      .from(WorkerWorld::publisher())
                      .to(WorkerWorld::stream_address(kOtherPort))
                      .payload(100, 1)
                      .bytes());
    world.settle();
    receive();
    world.receive(good().bytes());
    world.settle();
    expect_its_fate(2);
}

std::vector<Row> link_layer() {
    return {
        {"frame that ends inside its Ethernet header is dropped",
         good().cut_to(13).bytes(),
         drops(DropReason::frame_too_short)},
        {"Ethernet header alone is too short for IPv4",
         good().cut_to(14).bytes(),
         drops(DropReason::frame_too_short)},
        {"IPv4 header cut by one byte is too short",
         good().cut_to(33).bytes(),
         drops(DropReason::frame_too_short)},
        {"padding of a short frame is not payload",
         WorkerWorld::content(1, 1).trailer(17).bytes(),
         is_relayed()},
        {"frame to another MAC is dropped",
         good().to_mac(kSomebodyElse).bytes(),
         drops(DropReason::not_our_mac)},
        {"unicast packet in a broadcast frame is dropped",
         good().to_mac(kBroadcast).bytes(),
         drops(DropReason::link_broadcast)},
        {"unicast packet in a multicast frame is dropped",
         good().to_mac(kMulticast).bytes(),
         drops(DropReason::link_broadcast)},
        {"broadcast ARP goes to Linux",
         good().to_mac(kBroadcast).ethertype(0x0806).bytes(),
         to_linux()},
        {"unicast ARP goes to Linux", good().ethertype(0x0806).bytes(), to_linux()},
        {"malformed ARP goes to Linux, which knows ARP",
         good().ethertype(0x0806).cut_to(20).bytes(),
         to_linux()},
        {"ethertype 0 goes to Linux", good().ethertype(0).bytes(), to_linux()},
        {"LLC length goes to Linux", good().ethertype(0x0040).bytes(), to_linux()},
        {"unknown ethertype goes to Linux", good().ethertype(0x9999).bytes(), to_linux()},
        {"IPv6 goes to Linux", good().ethertype(0x86dd).bytes(), to_linux()},
        {"IPv6 multicast goes to Linux",
         good().to_mac({{0x33, 0x33, 0, 0, 0, 1}}).ethertype(0x86dd).bytes(),
         to_linux()},
        {"priority tag of VLAN 0 is no VLAN", good().vlan(0x6000).bytes(), is_relayed()},
        {"frame of a VLAN goes to Linux", good().vlan(100).bytes(), to_linux()},
        {"QinQ goes to Linux", good().vlan(100, 0x88a8).vlan(200).bytes(), to_linux()},
        {"QinQ with VLAN 0 outside goes to Linux",
         good().vlan(0, 0x88a8).vlan(0).bytes(),
         to_linux()},
        {"two priority tags go to Linux", good().vlan(0).vlan(0).bytes(), to_linux()},
        {"three tags go to Linux", good().vlan(0).vlan(1).vlan(2).bytes(), to_linux()},
        {"tag cut by one byte is too short",
         good().vlan(0).cut_to(17).bytes(),
         drops(DropReason::frame_too_short)},
        {"tag and nothing behind it is too short",
         good().vlan(0).cut_to(18).bytes(),
         drops(DropReason::frame_too_short)},
        {"tagged IPv4 header cut by one byte is too short",
         good().vlan(0).cut_to(37).bytes(),
         drops(DropReason::frame_too_short)},
    };
}

// NOLINTNEXTLINE(readability-function-size): one table
std::vector<Row> ipv4() {
    return {
        {"version 0 is invalid", good().version(0).bytes(), drops(DropReason::ip_header_invalid)},
        {"version 3 is invalid", good().version(3).bytes(), drops(DropReason::ip_header_invalid)},
        {"version 6 under the ethertype of IPv4 is invalid",
         good().version(6).bytes(),
         drops(DropReason::ip_header_invalid)},
        {"header of 1 word is invalid",
         good().header_words(1).bytes(),
         drops(DropReason::ip_header_invalid)},
        {"header of 4 words is invalid",
         good().header_words(4).bytes(),
         drops(DropReason::ip_header_invalid)},
        {"header longer than the frame is invalid",
         WorkerWorld::content(0, 1).header_words(15).bytes(),
         drops(DropReason::ip_header_invalid)},
        {"no-operation options at a stream port are dropped",
         good().options({1, 1, 1, 0}).bytes(),
         drops(DropReason::ip_options)},
        {"record-route options at a stream port are dropped",
         good().options({7, 7, 4, 0, 0, 0, 0, 0}).bytes(),
         drops(DropReason::ip_options)},
        {"loose-source-route options at a stream port are dropped",
         good().options({131, 7, 4, 10, 0, 0, 1, 0}).bytes(),
         drops(DropReason::ip_options)},
        {"40 bytes of options at a stream port are dropped",
         good().options(Bytes(40, 1)).bytes(),
         drops(DropReason::ip_options)},
        {"options at another port go to Linux",
         good().to("10.0.0.1", 53).options({1, 1, 1, 0}).bytes(),
         to_linux()},
        {"payload posing as options is summed with the header, and the sum is wrong",
         good().header_words(6).ip_checksum(0x1111).bytes(),
         drops(DropReason::ip_checksum_wrong)},
        {"total length 0 is invalid",
         good().total_length(0).bytes(),
         drops(DropReason::ip_header_invalid)},
        {"total length 19 is invalid",
         good().total_length(19).bytes(),
         drops(DropReason::ip_header_invalid)},
        {"total length below the header with options is invalid",
         good().options({1, 1, 1, 0}).total_length(20).bytes(),
         drops(DropReason::ip_header_invalid)},
        {"total length one beyond the frame is invalid",
         good().total_length(129).bytes(),
         drops(DropReason::ip_header_invalid)},
        {"frame without the last byte of its packet is invalid",
         good().cut_to(kIpv4FrameHeaderBytes + 99).bytes(),
         drops(DropReason::ip_header_invalid)},
        {"total length 65535 is invalid",
         good().total_length(65535).bytes(),
         drops(DropReason::ip_header_invalid)},
        {"total length below the frame leaves padding behind",
         good().trailer(60, 0xee).bytes(),
         is_relayed()},
        {"total length without room for UDP is dropped",
         good().total_length(27).bytes(),
         drops(DropReason::udp_length_invalid)},
        {"total length below the UDP length is dropped",
         good().total_length(100).bytes(),
         drops(DropReason::udp_length_invalid)},
        {"wrong header checksum is dropped",
         good().ip_checksum(0x1111).bytes(),
         drops(DropReason::ip_checksum_wrong)},
        {"header checksum 0 is wrong too",
         good().ip_checksum(0).bytes(),
         drops(DropReason::ip_checksum_wrong)},
        {"TTL 1 has arrived", good().ttl(1).bytes(), is_relayed()},
        {"TTL 0 has arrived (RFC 1122 section 3.2.1.7)", good().ttl(0).bytes(), is_relayed()},
        {"ICMP goes to Linux", good().protocol(1).bytes(), to_linux()},
        {"TCP goes to Linux", good().protocol(6).bytes(), to_linux()},
        {"UDP-Lite goes to Linux", good().protocol(136).bytes(), to_linux()},
        {"fragment whose header has the same sum as content's is dropped",
         good().fragment(0x2000).ttl(64 + 0x20).bytes(),
         drops(DropReason::ip_fragment)},
        {"fragment of ICMP goes to Linux", good().protocol(1).fragment(0x2000).bytes(), to_linux()},
        {"source 0.0.0.0 is dropped",
         from_address("0.0.0.0").bytes(),
         drops(DropReason::source_invalid)},
        {"source in 0/8 is dropped",
         from_address("0.1.2.3").bytes(),
         drops(DropReason::source_invalid)},
        {"loopback source is dropped",
         from_address("127.0.0.1").bytes(),
         drops(DropReason::source_invalid)},
        {"multicast source is dropped",
         from_address("224.0.0.1").bytes(),
         drops(DropReason::source_invalid)},
        {"reserved source is dropped",
         from_address("240.0.0.1").bytes(),
         drops(DropReason::source_invalid)},
        {"broadcast source is dropped",
         from_address("255.255.255.255").bytes(),
         drops(DropReason::source_invalid)},
        {"our own address as source is dropped: no loops",
         from_address("10.0.0.1").bytes(),
         drops(DropReason::source_invalid)},
        {"ICMP from a loopback source is dropped",
         from_address("127.0.0.1").protocol(1).bytes(),
         drops(DropReason::source_invalid)},
        {"limited broadcast goes to Linux",
         good().to_mac(kBroadcast).to("255.255.255.255", 20000).bytes(),
         to_linux()},
        {"DHCP's source 0.0.0.0 to broadcast goes to Linux",
         packet().to_mac(kBroadcast).from("0.0.0.0", 68).to("255.255.255.255", 67).bytes(),
         to_linux()},
        {"multicast goes to Linux",
         good().to_mac(kMulticast).to("224.0.0.1", 20000).bytes(),
         to_linux()},
        {"another host's address goes to Linux", good().to("10.0.0.2", 20000).bytes(), to_linux()},
        {"don't-fragment clear is no fragment", good().fragment(0).bytes(), is_relayed()},
        {"reserved flag bit is no fragment", good().fragment(0x8000).bytes(), is_relayed()},
        {"first fragment is dropped",
         good().fragment(0x2000).bytes(),
         drops(DropReason::ip_fragment)},
        {"middle fragment is dropped",
         good().fragment(0x2010).bytes(),
         drops(DropReason::ip_fragment)},
        {"last fragment is dropped",
         good().fragment(0x0010).bytes(),
         drops(DropReason::ip_fragment)},
        {"tiny fragment at offset 1 is dropped",
         good().fragment(0x0001).bytes(),
         drops(DropReason::ip_fragment)},
        {"fragment at the last offset, 65528, is dropped",
         good().fragment(0x1fff).bytes(),
         drops(DropReason::ip_fragment)},
        {"fragment that may not be fragmented is dropped",
         good().fragment(0x6000).bytes(),
         drops(DropReason::ip_fragment)},
    };
}

// NOLINTNEXTLINE(readability-function-size): one table
std::vector<Row> udp() {
    std::vector<Row> rows{
        {"UDP length beyond IP is dropped",
         good().udp_length(109).bytes(),
         drops(DropReason::udp_length_invalid)},
        {"UDP length 65535 is dropped",
         good().udp_length(65535).bytes(),
         drops(DropReason::udp_length_invalid)},
        {"empty payload is relayed", WorkerWorld::content(0, 1).bytes(), is_relayed()},
        {"payload of 1 byte is relayed", WorkerWorld::content(1, 1).bytes(), is_relayed()},
        {"payload of 1200 bytes is relayed", WorkerWorld::content(1200, 1).bytes(), is_relayed()},
        {"payload of 1472 bytes is relayed", WorkerWorld::content(1472, 1).bytes(), is_relayed()},
        {"source port 0 is dropped: no reply could reach it",
         packet().from("10.0.0.9", 0).to(WorkerWorld::stream_address()).payload(9, 1).bytes(),
         drops(DropReason::source_invalid)},
        {"destination port 0 goes to Linux", good().to("10.0.0.1", 0).bytes(), to_linux()},
        {"port below the stream ports goes to Linux",
         good().to("10.0.0.1", 19999).bytes(),
         to_linux()},
        {"port above the stream ports goes to Linux",
         good().to("10.0.0.1", 20100).bytes(),
         to_linux()},
        {"last stream port without a stream is unknown",
         good().to("10.0.0.1", 20099).bytes(),
         drops(DropReason::unknown_stream)},
        {"JOIN for a port without a stream is unknown",
         packet().from("10.0.0.50", 5000).to("10.0.0.1", 20001).payload(join_payload()).bytes(),
         drops(DropReason::unknown_stream)},
        {"checksum 0, not computed, is relayed", good().udp_checksum(0).bytes(), is_relayed()},
        {"another host is not the publisher",
         packet().from("10.0.0.8", 4000).to(WorkerWorld::stream_address()).payload(9, 1).bytes(),
         drops(DropReason::not_publisher)},
        {"another host whose address has the same sum is not the publisher",
         from_address("10.1.0.8").bytes(),
         drops(DropReason::not_publisher)},
        {"another port of the publisher's host is not the publisher",
         packet().from("10.0.0.9", 4001).to(WorkerWorld::stream_address()).payload(9, 1).bytes(),
         drops(DropReason::not_publisher)},
        {"JOIN of anybody is a session message",
         packet()
             .from("10.0.0.50", 5000)
             .to(WorkerWorld::stream_address())
             .payload(join_payload())
             .bytes(),
         is_session_message()},
        {"JOIN of the publisher is a session message",
         good().payload(join_payload()).bytes(),
         is_session_message()},
        {"KEEPALIVE of anybody is a session message",
         packet()
             .from("10.0.0.50", 5000)
             .to(WorkerWorld::stream_address())
             .payload(keepalive_payload(1))
             .bytes(),
         is_session_message()},
        {"KEEPALIVE of the publisher for its flow is a session message",
         good().payload(keepalive_payload(0xf10)).bytes(),
         is_session_message()},
        {"publisher's content that looks like another flow's KEEPALIVE is content",
         good().payload(keepalive_payload(0xf11)).bytes(),
         is_relayed()},
        {"JOIN cut by one byte is not the publisher's content",
         [] {
             Bytes cut = join_payload();
             cut.pop_back();
             return packet()
                 .from("10.0.0.50", 5000)
                 .to(WorkerWorld::stream_address())
                 .payload(cut)
                 .bytes();
         }(),
         drops(DropReason::not_publisher)},
        {"JOIN followed by junk behind UDP is a session message",
         packet()
             .from("10.0.0.50", 5000)
             .to(WorkerWorld::stream_address())
             .payload(join_payload())
             .trailer(3, 0xab)
             .bytes(),
         is_session_message()},
    };
    for (unsigned length = 0; length < 8; ++length) {
        rows.push_back({"UDP length " + std::to_string(length) + " is dropped",
                        good().udp_length(length).bytes(),
                        drops(DropReason::udp_length_invalid)});
    }
    return rows;
}

std::vector<Row> mbuf_flags() {
    return {
        {"NIC finds the IP checksum good",
         good().bytes(),
         is_relayed(),
         RTE_MBUF_F_RX_IP_CKSUM_GOOD},
        {"NIC says nothing of the IP checksum",
         good().bytes(),
         is_relayed(),
         RTE_MBUF_F_RX_IP_CKSUM_UNKNOWN},
        {"NIC says the IP checksum is not there, but right",
         good().bytes(),
         is_relayed(),
         RTE_MBUF_F_RX_IP_CKSUM_NONE},
        {"NIC finds the IP checksum bad",
         good().bytes(),
         drops(DropReason::ip_checksum_wrong),
         RTE_MBUF_F_RX_IP_CKSUM_BAD},
        {"NIC finds a wrong IP checksum good",
         good().ip_checksum(0x1111).bytes(),
         drops(DropReason::ip_checksum_wrong),
         RTE_MBUF_F_RX_IP_CKSUM_GOOD},
        {"NIC finds the UDP checksum good",
         good().bytes(),
         is_relayed(),
         RTE_MBUF_F_RX_L4_CKSUM_GOOD},
        {"NIC finds the UDP checksum bad",
         good().bytes(),
         drops(DropReason::udp_checksum_wrong),
         RTE_MBUF_F_RX_L4_CKSUM_BAD},
        {"NIC finds a UDP checksum that was not computed bad",
         good().udp_checksum(0).bytes(),
         is_relayed(),
         RTE_MBUF_F_RX_L4_CKSUM_BAD},
        {"NIC says the UDP checksum is not there, but right",
         good().bytes(),
         is_relayed(),
         RTE_MBUF_F_RX_L4_CKSUM_NONE},
        {"tag of VLAN 0 that the NIC has stripped",
         good().bytes(),
         is_relayed(),
         RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED},
    };
}

INSTANTIATE_TEST_SUITE_P(LinkLayer, BadInput, testing::ValuesIn(link_layer()));
INSTANTIATE_TEST_SUITE_P(Ipv4, BadInput, testing::ValuesIn(ipv4()));
INSTANTIATE_TEST_SUITE_P(Udp, BadInput, testing::ValuesIn(udp()));
INSTANTIATE_TEST_SUITE_P(MbufFlags, BadInput, testing::ValuesIn(mbuf_flags()));

TEST(SegmentedInput, FrameInSeveralMbufsIsDroppedWhereverItIsSplit) {
    WorkerWorld world;
    Stream* stream = world.open_published();
    world.add_flow(stream, 1);
    const Bytes frame = good().bytes();
    for (std::size_t first = 1; first < 46; ++first) {
        world.receive_segmented(frame, first);
    }
    world.receive_segmented(frame, frame.size());  // a last segment without a byte
    world.settle();
    EXPECT_TRUE(world.sent().empty());
    EXPECT_EQ(world.dropped(DropReason::frame_segmented), 46U);
}

TEST(TruncatedInput, NoPrefixOfAGoodFrameIsRelayed) {
    WorkerWorld world;
    Stream* stream = world.open_published();
    world.add_flow(stream, 1);
    const Bytes frame = good().bytes();
    for (std::size_t bytes = 1; bytes < frame.size(); ++bytes) {
        world.receive(Bytes(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(bytes)));
        world.settle();
    }
    EXPECT_TRUE(world.sent().empty());
    EXPECT_TRUE(world.exceptions().empty());
    EXPECT_EQ(world.dropped_in_all(), frame.size() - 1);
}

TEST(StrippedVlan, FrameOfAVlanWhoseTagTheNicTookOffIsDropped) {
    WorkerWorld world;
    Stream* stream = world.open_published();
    world.add_flow(stream, 1);
    world.settle();
    world.receive_flagged(good().bytes(), RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED, 100);
    world.settle();
    EXPECT_TRUE(world.sent().empty());
    EXPECT_EQ(world.dropped(DropReason::vlan_stripped), 1U);
}

TEST(NoPublisher, NothingIsContentUntilAPublisherIsProven) {
    WorkerWorld world;
    Stream* stream = world.open_stream();
    world.add_flow(stream, 1);
    world.receive(good().bytes());
    world.settle();
    EXPECT_EQ(world.dropped(DropReason::not_publisher), 1U);
    world.set_publisher(stream);
    world.settle();
    world.receive(good().bytes());
    world.settle();
    EXPECT_EQ(world.sent().size(), 1U);
    world.set_publisher(stream, Endpoint{}, FlowId{});
    world.settle();
    world.receive(good().bytes());
    world.settle();
    EXPECT_TRUE(world.sent().empty());
    EXPECT_EQ(world.dropped(DropReason::not_publisher), 2U);
}

TEST(ClosedStream, ItsPortIsUnknownAgain) {
    WorkerWorld world;
    Stream* stream = world.open_published();
    world.close_stream(stream);
    world.settle();
    world.receive(good().bytes());
    world.settle();
    EXPECT_EQ(world.dropped(DropReason::unknown_stream), 1U);
}

TEST(FullRings, MessagesAndExceptionsThatNobodyTakesAreDroppedByName) {
    WorldOptions options;
    options.control_packets = 8;
    WorkerWorld world{options};
    world.open_stream();
    for (int i = 0; i < 20; ++i) {
        world.receive(good().payload(join_payload()).bytes());
        world.receive(good().ethertype(0x0806).bytes());
    }
    world.settle();
    EXPECT_EQ(world.session_messages().size(), 7U);
    EXPECT_EQ(world.exceptions().size(), 7U);
    EXPECT_EQ(world.dropped(DropReason::session_ring_full), 13U);
    EXPECT_EQ(world.dropped(DropReason::exception_ring_full), 13U);
}

TEST(GivenToControl, FramesArriveUntouchedWithTheirPort) {
    WorldOptions options;
    options.ports = 2;
    WorkerWorld world{options};
    world.open_stream();
    const Bytes join = packet()
                           .to_mac(WorkerWorld::mac(1))
                           .from("10.0.0.50", 5000)
                           .to(WorkerWorld::stream_address(20000, 1))
                           .payload(join_payload())
                           .bytes();
    const Bytes arp = good().to_mac(kBroadcast).ethertype(0x0806).bytes();
    world.receive(join, 1);
    world.receive(arp, 1);
    world.settle();
    EXPECT_EQ(world.ports_of_session_messages(), std::vector<unsigned>{1});
    EXPECT_EQ(world.session_messages(), std::vector<Bytes>{join});
    EXPECT_EQ(world.exceptions(), std::vector<Bytes>{arp});
}

}  // namespace
}  // namespace penstock
