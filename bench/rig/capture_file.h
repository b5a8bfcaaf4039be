#pragma once

#include "base/net_address.h"

#include <penstock/result.h>

#include <cstdint>
#include <filesystem>
#include <vector>

namespace penstock::bench {

/// What a capture file's packets look like: UDP over IPv4, every checksum valid.
struct CaptureContent {
    MacAddress to_mac;
    IpAddress to;
    Endpoint from;
    std::vector<std::uint16_t> udp_ports;  // one packet to each in turn
    std::uint32_t packets = 512;           // in all, at least one per UDP port
    std::uint32_t payload_bytes = 1316;    // 8 or more: each starts with its number, big-endian
};

/// One packet to stream port `udp_port`: an Ethernet frame without FCS. `payload`: in place of the
/// capture's own.
[[nodiscard]] std::vector<std::uint8_t> frame_of(const CaptureContent& content,
                                                 std::uint16_t udp_port,
                                                 const std::vector<std::uint8_t>& payload);

/// Writes a capture for net_pcap to play (libpcap's format, microseconds, Ethernet).
/// Errors: system.
Result<void> write_capture(const std::filesystem::path& path, const CaptureContent& content);

}  // namespace penstock::bench
