#pragma once

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_udp.h>

#include <bit>
#include <cstddef>
#include <cstdint>

namespace penstock {

inline constexpr std::size_t kEthernetBytes = sizeof(rte_ether_hdr);
inline constexpr std::size_t kIpv4Bytes = sizeof(rte_ipv4_hdr);
inline constexpr std::size_t kUdpBytes = sizeof(rte_udp_hdr);
inline constexpr std::size_t kIpv4FrameHeaderBytes = kEthernetBytes + kIpv4Bytes + kUdpBytes;
static_assert(kIpv4FrameHeaderBytes == 42);

/// Where the lengths and checksums of a copy lie in an untagged IPv4 frame.
inline constexpr std::size_t kIpv4LengthAt = kEthernetBytes + 2;
inline constexpr std::size_t kIpv4ChecksumAt = kEthernetBytes + 10;
inline constexpr std::size_t kUdpLengthAt = kEthernetBytes + kIpv4Bytes + 4;
inline constexpr std::size_t kUdpChecksumAt = kEthernetBytes + kIpv4Bytes + 6;

// The compiler's own: DPDK's are assembly, which the compiler cannot see through.
constexpr std::uint16_t to_network(std::uint16_t host) noexcept {
    return std::endian::native == std::endian::little ? __builtin_bswap16(host) : host;
}
constexpr std::uint32_t to_network(std::uint32_t host) noexcept {
    return std::endian::native == std::endian::little ? __builtin_bswap32(host) : host;
}
constexpr std::uint16_t to_host(std::uint16_t network) noexcept { return to_network(network); }
constexpr std::uint32_t to_host(std::uint32_t network) noexcept { return to_network(network); }

}  // namespace penstock
