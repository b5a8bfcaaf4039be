#pragma once

#include "base/net_address.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace penstock {

using Bytes = std::vector<std::uint8_t>;

/// The ones'-complement checksum of RFC 1071, written for these tests alone, byte by byte: shares
/// nothing with the code it judges. Over correct data that holds its checksum the result is 0.
inline std::uint16_t internet_checksum(std::span<const std::uint8_t> bytes,
                                       std::uint32_t start = 0) {
    std::uint64_t sum = start;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        sum += i % 2 == 0 ? std::uint64_t{bytes[i]} << 8U : bytes[i];
    }
    while (sum > 0xffff) {
        sum = (sum & 0xffffU) + (sum >> 16U);
    }
    return static_cast<std::uint16_t>(~sum);
}

/// Builds one frame, right unless told otherwise, and wrong in exactly the way told:
///     packet().from("10.0.0.9", 4000).to("10.0.0.1", 20000).payload("content").bytes()
/// Whatever is not set by hand is computed by bytes(): lengths and checksums.
class PacketBuilder {
  public:
    PacketBuilder& to_mac(MacAddress mac) { return to_mac_ = mac, *this; }
    PacketBuilder& from_mac(MacAddress mac) { return from_mac_ = mac, *this; }
    PacketBuilder& ethertype(std::uint16_t type) { return ethertype_ = type, *this; }
    /// Adds a tag behind those there are.
    PacketBuilder& vlan(std::uint16_t tci, std::uint16_t protocol = 0x8100) {
        return tags_.push_back({protocol, tci}), *this;
    }
    PacketBuilder& from(std::string_view ip, std::uint16_t port) {
        source_ = {*parse_ip_address(ip), port};
        return *this;
    }
    PacketBuilder& from(const Endpoint& endpoint) { return source_ = endpoint, *this; }
    PacketBuilder& to(std::string_view ip, std::uint16_t port) {
        destination_ = {*parse_ip_address(ip), port};
        return *this;
    }
    PacketBuilder& to(const Endpoint& endpoint) { return destination_ = endpoint, *this; }

    PacketBuilder& version(unsigned version) { return version_ = version, *this; }
    PacketBuilder& header_words(unsigned words) { return header_words_ = words, *this; }
    /// IPv4 options, a multiple of 4 bytes; header_words follows unless set.
    PacketBuilder& options(Bytes options) { return options_ = std::move(options), *this; }
    PacketBuilder& total_length(unsigned bytes) { return total_length_ = int(bytes), *this; }
    PacketBuilder& fragment(std::uint16_t field) { return fragment_ = field, *this; }
    PacketBuilder& ttl(std::uint8_t ttl) { return ttl_ = ttl, *this; }
    PacketBuilder& protocol(std::uint8_t protocol) { return protocol_ = protocol, *this; }
    PacketBuilder& ip_checksum(std::uint16_t checksum) { return ip_checksum_ = checksum, *this; }

    PacketBuilder& udp_length(unsigned bytes) { return udp_length_ = int(bytes), *this; }
    PacketBuilder& udp_checksum(std::uint16_t checksum) { return udp_checksum_ = checksum, *this; }
    PacketBuilder& payload(Bytes payload) { return payload_ = std::move(payload), *this; }
    PacketBuilder& payload(std::string_view text) {
        return payload_.assign(text.begin(), text.end()), *this;
    }
    /// `bytes` of a pattern that differs from byte to byte and from `seed` to `seed`.
    PacketBuilder& payload(std::size_t bytes, unsigned seed);
    /// Bytes behind the IP packet: Ethernet padding, or junk.
    PacketBuilder& trailer(std::size_t bytes, std::uint8_t value = 0) {
        return trailer_.assign(bytes, value), *this;
    }
    /// Cuts the finished frame.
    PacketBuilder& cut_to(std::size_t bytes) { return cut_to_ = int(bytes), *this; }

    [[nodiscard]] Bytes bytes() const;
    [[nodiscard]] const Bytes& payload_bytes() const { return payload_; }

  private:
    struct Tag {
        std::uint16_t protocol;
        std::uint16_t tci;
    };
    static constexpr int kComputed = -1;

    [[nodiscard]] Bytes ip_packet() const;

    MacAddress to_mac_{{0x02, 0, 0, 0, 0, 0x01}};
    MacAddress from_mac_{{0x02, 0, 0, 0, 0, 0x99}};
    int ethertype_ = 0x0800;
    std::vector<Tag> tags_;
    Endpoint source_;
    Endpoint destination_;
    unsigned version_ = 4;
    unsigned header_words_ = 0;
    Bytes options_;
    int total_length_ = kComputed;
    std::uint16_t fragment_ = 0x4000;
    std::uint8_t ttl_ = 64;
    std::uint8_t protocol_ = 17;
    int ip_checksum_ = kComputed;
    int udp_length_ = kComputed;
    int udp_checksum_ = kComputed;
    Bytes payload_;
    Bytes trailer_;
    int cut_to_ = kComputed;
};

inline PacketBuilder packet() { return {}; }

/// What a frame says, read by a routine that shares nothing with the code it judges.
struct ParsedPacket {
    MacAddress to_mac;
    MacAddress from_mac;
    Endpoint source;
    Endpoint destination;
    std::uint8_t ttl = 0;
    std::uint16_t identification = 0;
    std::uint16_t fragment = 0;
    bool ip_checksum_right = false;
    bool udp_checksum_right = false;
    std::uint16_t udp_checksum = 0;
    bool lengths_right = false;  // frame, IP and UDP agree to the byte
    Bytes payload;
};
ParsedPacket parse_packet(std::span<const std::uint8_t> frame);

}  // namespace penstock
