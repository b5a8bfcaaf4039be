#include "base/net_address.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace penstock {
namespace {

using namespace std::string_view_literals;

IpAddress ip(std::string_view text) { return parse_ip_address(text).value(); }

TEST(NetAddress, HoldsIpv4AsIpv4MappedIpv6) {
    const IpAddress address = IpAddress::v4(0x0a000102);
    EXPECT_TRUE(address.is_v4());
    EXPECT_EQ(address.v4(), 0x0a000102U);
    EXPECT_EQ(address.bytes,
              (std::array<std::uint8_t, 16>{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 1, 2}));
    EXPECT_EQ(address, ip("10.0.1.2"));
    EXPECT_FALSE(ip("::1").is_v4());
}

TEST(NetAddress, KnowsSpecialAddresses) {
    EXPECT_TRUE(ip("0.0.0.0").is_unspecified());
    EXPECT_TRUE(ip("::").is_unspecified());
    EXPECT_FALSE(ip("0.0.0.1").is_unspecified());
    EXPECT_TRUE(ip("127.0.0.1").is_loopback());
    EXPECT_TRUE(ip("127.255.255.254").is_loopback());
    EXPECT_TRUE(ip("::1").is_loopback());
    EXPECT_FALSE(ip("128.0.0.1").is_loopback());
    EXPECT_FALSE(ip("::2").is_loopback());
    EXPECT_TRUE(ip("224.0.0.1").is_multicast());
    EXPECT_TRUE(ip("239.255.255.255").is_multicast());
    EXPECT_TRUE(ip("ff02::1").is_multicast());
    EXPECT_FALSE(ip("223.255.255.255").is_multicast());
    EXPECT_FALSE(ip("240.0.0.0").is_multicast());
    EXPECT_FALSE(ip("fe80::1").is_multicast());
}

TEST(NetAddress, WritesWhatItReads) {
    for (const std::string_view text : {"10.0.0.1", "255.255.255.255", "::1", "2001:db8::7"}) {
        EXPECT_EQ(to_string(ip(text)), text);
    }
    for (const std::string_view text : {"10.0.0.1:7400", "0.0.0.0:0", "[::1]:65535"}) {
        const auto endpoint = parse_endpoint(text);
        ASSERT_TRUE(endpoint.ok()) << endpoint.error().message;
        EXPECT_EQ(to_string(*endpoint), text);
    }
    for (const std::string_view text : {"10.0.0.1/24", "10.0.0.1/0", "10.0.0.1/32", "::1/128"}) {
        const auto address = parse_interface_address(text);
        ASSERT_TRUE(address.ok()) << address.error().message;
        EXPECT_EQ(to_string(*address), text);
    }
    EXPECT_EQ(to_string(MacAddress{{0x02, 0, 0, 0xab, 0, 0x01}}), "02:00:00:ab:00:01");
}

TEST(NetAddress, RefusesBadAddresses) {
    for (const std::string_view text : {""sv,
                                        "localhost"sv,
                                        "10.0.0"sv,
                                        "10.0.0.256"sv,
                                        "10.0.0.1.2"sv,
                                        "10.0.0.1 "sv,
                                        " 10.0.0.1"sv,
                                        "10.0.0.1/24"sv,
                                        "10.0.0.1:80"sv,
                                        "0x0a.0.0.1"sv,
                                        "10.0.0.1\0x"sv,
                                        "::g"sv,
                                        ":::"sv,
                                        "fe80::1%eth0"sv,
                                        "[::1]"sv}) {
        const auto read = parse_ip_address(text);
        ASSERT_FALSE(read.ok()) << text;
        EXPECT_EQ(read.error().code, ErrorCode::invalid_argument);
    }
    EXPECT_EQ(parse_ip_address("localhost").error().message,
              "'localhost' is not an IP address; write it like 10.0.0.1");
}

TEST(NetAddress, RefusesBadEndpoints) {
    for (const std::string_view text : {"",
                                        ":",
                                        ":80",
                                        "10.0.0.1",
                                        "10.0.0.1:",
                                        "10.0.0.1:-1",
                                        "10.0.0.1:+1",
                                        "10.0.0.1: 1",
                                        "10.0.0.1:1 ",
                                        "10.0.0.1:65536",
                                        "10.0.0.1:99999999999999999999",
                                        "10.0.0.1:http",
                                        "localhost:80",
                                        "::1:80",
                                        "[::1]80",
                                        "[::1:80",
                                        "[]:80",
                                        "[10.0.0.1]:80"}) {
        EXPECT_FALSE(parse_endpoint(text).ok()) << text;
    }
    EXPECT_EQ(parse_endpoint("10.0.0.1").error().message,
              "'10.0.0.1' is not an address with a port; write it like 10.0.0.1:7400");
}

TEST(NetAddress, RefusesBadInterfaceAddresses) {
    for (const std::string_view text : {"",
                                        "/",
                                        "10.0.0.1",
                                        "10.0.0.1/",
                                        "10.0.0.1/33",
                                        "10.0.0.1/-1",
                                        "10.0.0.1/255.255.255.0",
                                        "10.0.0.1/24/8",
                                        "::1/129",
                                        "/24"}) {
        EXPECT_FALSE(parse_interface_address(text).ok()) << text;
    }
}

}  // namespace
}  // namespace penstock
