#pragma once

#include <penstock/result.h>

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace penstock {

/// An IPv4 or IPv6 address, in network order; IPv4 as IPv4-mapped IPv6 (RFC 4291 section 2.5.5.2).
struct IpAddress {
    std::array<std::uint8_t, 16> bytes{};

    auto operator<=>(const IpAddress&) const = default;

    /// From a host-order IPv4 address: 0x0a000001 is 10.0.0.1.
    static IpAddress v4(std::uint32_t host_order) noexcept;
    [[nodiscard]] bool is_v4() const noexcept;
    /// Host-order IPv4 address; only of an address for which is_v4().
    [[nodiscard]] std::uint32_t v4() const noexcept;
    [[nodiscard]] bool is_unspecified() const noexcept;  // 0.0.0.0 or ::
    [[nodiscard]] bool is_loopback() const noexcept;
    [[nodiscard]] bool is_multicast() const noexcept;
};

/// An address and a UDP or TCP port (host order).
struct Endpoint {
    IpAddress ip;
    std::uint16_t port = 0;

    auto operator<=>(const Endpoint&) const = default;
};

/// An address with the length of its network's prefix, as given to an interface: 10.0.0.1/24.
struct InterfaceAddress {
    IpAddress ip;
    std::uint8_t prefix_bits = 0;  // 0..32 for IPv4, 0..128 for IPv6

    auto operator<=>(const InterfaceAddress&) const = default;
};

struct MacAddress {
    std::array<std::uint8_t, 6> bytes{};

    auto operator<=>(const MacAddress&) const = default;
};

/// "10.0.0.1", "::1". Numeric only: never asks a resolver.
Result<IpAddress> parse_ip_address(std::string_view text);
/// "10.0.0.1:5000", "[::1]:5000".
Result<Endpoint> parse_endpoint(std::string_view text);
/// "10.0.0.1/24".
Result<InterfaceAddress> parse_interface_address(std::string_view text);

std::string to_string(const IpAddress& address);
std::string to_string(const Endpoint& endpoint);
std::string to_string(const InterfaceAddress& address);
std::string to_string(const MacAddress& address);  // "02:00:00:00:00:01"

}  // namespace penstock
