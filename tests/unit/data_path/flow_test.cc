#include "data_path/flow.h"

#include "data_path/packet_headers.h"
#include "support/packet_builder.h"

#include <gtest/gtest.h>

#include <cstring>

namespace penstock {
namespace {

FlowAddresses addresses() {
    return {.source_mac = {{2, 0, 0, 0, 0, 1}},
            .next_hop_mac = {{2, 0, 0, 0, 0, 2}},
            .source = {*parse_ip_address("10.0.0.1"), 20000},
            .destination = {*parse_ip_address("192.0.2.77"), 5004}};
}

/// Both parts laid over each other.
Bytes frame_of(const FlowAddresses& addresses) {
    const CommonHeaders common = make_common_headers(addresses.source_mac, addresses.source.ip);
    const FlowHeaders flow = make_flow_headers(addresses);
    EXPECT_EQ(common.header_bytes, 42);
    Bytes frame(common.headers.begin(), common.headers.begin() + common.header_bytes);
    const auto put = [&frame](std::size_t at, const void* value, std::size_t bytes) {
        for (std::size_t i = 0; i < bytes; ++i) {
            EXPECT_EQ(frame[at + i], 0) << "is the flow's: " << at + i;
        }
        std::memcpy(&frame[at], value, bytes);
    };
    const std::uint16_t udp_port = to_network(addresses.source.port);
    put(0, flow.next_hop_mac.data(), 6);
    put(30, &flow.address, 4);
    put(34, &udp_port, 2);
    put(36, &flow.udp_port, 2);
    return frame;
}

TEST(FlowHeaders, SayEverythingButLengthsAndChecksums) {
    const Bytes frame = frame_of(addresses());
    const Bytes expected = packet()
                               .to_mac(addresses().next_hop_mac)
                               .from_mac(addresses().source_mac)
                               .from(addresses().source)
                               .to(addresses().destination)
                               .bytes();
    for (std::size_t i = 0; i < 42; ++i) {
        const bool length_or_checksum = (i >= 16 && i < 18) || (i >= 24 && i < 26) || i >= 38;
        const bool identification = i == 18 || i == 19;
        // What is not said has to be zero; an atomic datagram needs no identification (RFC 6864).
        EXPECT_EQ(frame[i], length_or_checksum || identification ? 0 : expected[i]) << i;
    }
}

TEST(FlowHeaders, SumsAreOfWhatIsKnown) {
    const Bytes frame = frame_of(addresses());
    const FlowHeaders flow = make_flow_headers(addresses());
    const auto as_stored = [](std::uint16_t checksum) {
        const auto sum = static_cast<std::uint16_t>(~checksum);
        return static_cast<std::uint16_t>(sum << 8U | sum >> 8U);
    };
    const Bytes ip(frame.begin() + 14, frame.begin() + 34);
    EXPECT_EQ(flow.ip_sum, as_stored(internet_checksum(ip)));
    Bytes pseudo(ip.begin() + 12, ip.end());
    pseudo.insert(pseudo.end(), {0, 17});
    pseudo.insert(pseudo.end(), frame.begin() + 34, frame.begin() + 38);
    EXPECT_EQ(flow.udp_sum, as_stored(internet_checksum(pseudo)));
}

TEST(FlowHeaders, RefuseAnAddressOfAnotherFamily) {
    FlowAddresses mixed = addresses();
    mixed.destination.ip = *parse_ip_address("2001:db8::1");
    EXPECT_DEATH(make_flow_headers(mixed), "check failed");
}

}  // namespace
}  // namespace penstock
