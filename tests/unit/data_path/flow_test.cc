#include "data_path/flow.h"

#include "support/packet_builder.h"

#include <gtest/gtest.h>

#include <span>

namespace penstock {
namespace {

FlowAddresses addresses() {
    return {.source_mac = {{2, 0, 0, 0, 0, 1}},
            .next_hop_mac = {{2, 0, 0, 0, 0, 2}},
            .source = {*parse_ip_address("10.0.0.1"), 20000},
            .destination = {*parse_ip_address("192.0.2.77"), 5004}};
}

TEST(FlowTemplate, SaysEverythingButLengthsAndChecksums) {
    const FlowTemplate flow = make_flow_template(addresses());
    ASSERT_EQ(flow.header_bytes, 42);
    const Bytes expected = packet()
                               .to_mac(addresses().next_hop_mac)
                               .from_mac(addresses().source_mac)
                               .from(addresses().source)
                               .to(addresses().destination)
                               .bytes();
    for (std::size_t i = 0; i < 42; ++i) {
        const bool length_or_checksum = (i >= 16 && i < 18) || (i >= 24 && i < 26) || i >= 38;
        const bool identification = i == 18 || i == 19;
        if (!length_or_checksum && !identification) {
            EXPECT_EQ(flow.headers[i], expected[i]) << i;
        }
    }
    EXPECT_EQ(flow.headers[18], 0);  // an atomic datagram needs no identification (RFC 6864)
    EXPECT_EQ(flow.headers[19], 0);
}

TEST(FlowTemplate, ChecksumFieldsHoldTheSumOfWhatIsKnown) {
    const FlowTemplate flow = make_flow_template(addresses());
    Bytes ip(flow.headers.begin() + 14, flow.headers.begin() + 34);
    const std::uint16_t sum = static_cast<std::uint16_t>(ip[10] << 8U | ip[11]);
    ip[10] = ip[11] = 0;
    EXPECT_EQ(sum, static_cast<std::uint16_t>(~internet_checksum(ip)));

    Bytes pseudo(ip.begin() + 12, ip.end());
    pseudo.insert(pseudo.end(), {0, 17});
    pseudo.insert(pseudo.end(), flow.headers.begin() + 34, flow.headers.begin() + 38);
    const auto udp_sum = static_cast<std::uint16_t>(flow.headers[40] << 8U | flow.headers[41]);
    EXPECT_EQ(udp_sum, static_cast<std::uint16_t>(~internet_checksum(pseudo)));
}

TEST(FlowTemplate, RefusesAnAddressOfAnotherFamily) {
    FlowAddresses mixed = addresses();
    mixed.destination.ip = *parse_ip_address("2001:db8::1");
    EXPECT_DEATH(make_flow_template(mixed), "check failed");
}

}  // namespace
}  // namespace penstock
