#include "base/net_address.h"

#include <fmt/format.h>

#include <algorithm>
#include <arpa/inet.h>
#include <charconv>
#include <cstring>
#include <optional>

namespace penstock {
namespace {

constexpr std::array<std::uint8_t, 12> kV4MappedPrefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

Error bad(std::string_view what, std::string_view text, std::string_view example) {
    return {ErrorCode::invalid_argument,
            fmt::format("'{}' is not {}; write it like {}", text, what, example)};
}

std::optional<unsigned> parse_number(std::string_view text, unsigned most) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || value > most) {
        return std::nullopt;
    }
    return value;
}

}  // namespace

IpAddress IpAddress::v4(std::uint32_t host_order) noexcept {
    IpAddress address;
    std::copy(kV4MappedPrefix.begin(), kV4MappedPrefix.end(), address.bytes.begin());
    for (std::size_t i = 0; i < 4; ++i) {
        address.bytes[12 + i] = static_cast<std::uint8_t>(host_order >> (24 - 8 * i));
    }
    return address;
}

bool IpAddress::is_v4() const noexcept {
    return std::equal(kV4MappedPrefix.begin(), kV4MappedPrefix.end(), bytes.begin());
}

std::uint32_t IpAddress::v4() const noexcept {
    std::uint32_t value = 0;
    for (std::size_t i = 12; i < 16; ++i) {
        value = value << 8 | bytes[i];
    }
    return value;
}

bool IpAddress::is_unspecified() const noexcept {
    return *this == IpAddress{} || *this == v4(std::uint32_t{0});
}

bool IpAddress::is_loopback() const noexcept {
    if (is_v4()) {
        return bytes[12] == 127;
    }
    IpAddress loopback;
    loopback.bytes[15] = 1;
    return *this == loopback;
}

bool IpAddress::is_multicast() const noexcept {
    return is_v4() ? (bytes[12] & 0xf0) == 0xe0 : bytes[0] == 0xff;
}

Result<IpAddress> parse_ip_address(std::string_view text) {
    const std::string terminated(text);
    if (text.find('\0') != std::string_view::npos) {
        return bad("an IP address", terminated.c_str(), "10.0.0.1");
    }
    in_addr four{};
    if (::inet_pton(AF_INET, terminated.c_str(), &four) == 1) {
        return IpAddress::v4(ntohl(four.s_addr));
    }
    IpAddress address;
    if (::inet_pton(AF_INET6, terminated.c_str(), address.bytes.data()) == 1) {
        return address;
    }
    return bad("an IP address", text, "10.0.0.1");
}

Result<Endpoint> parse_endpoint(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) {
        return bad("an address with a port", text, "10.0.0.1:7400");
    }
    std::string_view host = text.substr(0, colon);
    const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) {
        host = host.substr(1, host.size() - 2);
    }
    const auto ip = parse_ip_address(host);
    const auto port = parse_number(text.substr(colon + 1), 65535);
    if (!ip || !port || bracketed == ip.value().is_v4()) {
        return bad("an address with a port", text, "10.0.0.1:7400");
    }
    return Endpoint{ip.value(), static_cast<std::uint16_t>(*port)};
}

Result<InterfaceAddress> parse_interface_address(std::string_view text) {
    const std::size_t slash = text.rfind('/');
    if (slash == std::string_view::npos) {
        return bad("an address with a prefix length", text, "10.0.0.1/24");
    }
    const auto ip = parse_ip_address(text.substr(0, slash));
    const auto bits = parse_number(text.substr(slash + 1), 128);
    if (!ip || !bits || (ip.value().is_v4() && *bits > 32)) {
        return bad("an address with a prefix length", text, "10.0.0.1/24");
    }
    return InterfaceAddress{ip.value(), static_cast<std::uint8_t>(*bits)};
}

std::string to_string(const IpAddress& address) {
    if (address.is_v4()) {
        const auto* const b = address.bytes.data() + 12;
        return fmt::format("{}.{}.{}.{}", b[0], b[1], b[2], b[3]);
    }
    std::array<char, INET6_ADDRSTRLEN> text{};
    ::inet_ntop(AF_INET6, address.bytes.data(), text.data(), text.size());
    return text.data();
}

std::string to_string(const Endpoint& endpoint) {
    if (endpoint.ip.is_v4()) {
        const auto* const b = endpoint.ip.bytes.data() + 12;
        return fmt::format("{}.{}.{}.{}:{}", b[0], b[1], b[2], b[3], endpoint.port);
    }
    return fmt::format("[{}]:{}", to_string(endpoint.ip), endpoint.port);
}

std::string to_string(const InterfaceAddress& address) {
    return fmt::format("{}/{}", to_string(address.ip), address.prefix_bits);
}

std::string to_string(const MacAddress& address) {
    const auto& b = address.bytes;
    return fmt::format(
        "{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", b[0], b[1], b[2], b[3], b[4], b[5]);
}

}  // namespace penstock
