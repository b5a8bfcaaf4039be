#include "support/packet_builder.h"

#include <algorithm>

namespace penstock {
namespace {

constexpr std::size_t kUdpHeaderBytes = 8;

void append_u16(Bytes& bytes, std::size_t value) {
    bytes.push_back(static_cast<std::uint8_t>(value >> 8U));
    bytes.push_back(static_cast<std::uint8_t>(value));
}

void put_u16(Bytes& bytes, std::size_t at, std::size_t value) {
    bytes[at] = static_cast<std::uint8_t>(value >> 8U);
    bytes[at + 1] = static_cast<std::uint8_t>(value);
}

std::uint16_t u16_at(std::span<const std::uint8_t> bytes, std::size_t at) {
    return static_cast<std::uint16_t>(bytes[at] << 8U | bytes[at + 1]);
}

void append(Bytes& bytes, std::span<const std::uint8_t> more) {
    bytes.insert(bytes.end(), more.begin(), more.end());
}

void append_v4(Bytes& bytes, const IpAddress& address) {
    append(bytes, std::span{address.bytes}.last(4));
}

IpAddress v4_at(std::span<const std::uint8_t> bytes, std::size_t at) {
    return IpAddress::v4(std::uint32_t{u16_at(bytes, at)} << 16U | u16_at(bytes, at + 2));
}

/// UDP checksum over pseudo header and segment, 0 in its own field assumed.
std::uint16_t udp_checksum_of(std::span<const std::uint8_t> ip, std::span<const std::uint8_t> udp) {
    Bytes pseudo(ip.begin() + 12, ip.begin() + 20);
    pseudo.push_back(0);
    pseudo.push_back(17);
    append_u16(pseudo, u16_at(udp, 4));
    append(pseudo, udp);
    return internet_checksum(pseudo);
}

}  // namespace

PacketBuilder& PacketBuilder::payload(std::size_t bytes, unsigned seed) {
    payload_.resize(bytes);
    for (std::size_t i = 0; i < bytes; ++i) {
        payload_[i] = static_cast<std::uint8_t>(i * 31 + seed * 101 + (i >> 8U));
    }
    return *this;
}

Bytes PacketBuilder::ip_packet() const {
    Bytes udp;
    append_u16(udp, source_.port);
    append_u16(udp, destination_.port);
    append_u16(udp,
               udp_length_ == kComputed ? kUdpHeaderBytes + payload_.size()
                                        : static_cast<std::size_t>(udp_length_));
    append_u16(udp, 0);
    append(udp, payload_);

    Bytes ip;
    const std::size_t header_bytes = 20 + options_.size();
    const std::size_t words = header_words_ != 0 ? header_words_ : header_bytes / 4;
    ip.push_back(static_cast<std::uint8_t>(version_ << 4U | words));
    ip.push_back(0);
    append_u16(ip,
               total_length_ == kComputed ? header_bytes + udp.size()
                                          : static_cast<std::size_t>(total_length_));
    append_u16(ip, 0x1234);
    append_u16(ip, fragment_);
    ip.push_back(ttl_);
    ip.push_back(protocol_);
    append_u16(ip, 0);
    append_v4(ip, source_.ip);
    append_v4(ip, destination_.ip);
    append(ip, options_);
    // Over as many words as the header says it has, as far as there are any.
    Bytes whole = ip;
    append(whole, udp);
    const std::size_t summed = std::min(std::max<std::size_t>(words * 4, 20), whole.size());
    put_u16(ip,
            10,
            ip_checksum_ == kComputed ? internet_checksum(std::span{whole}.first(summed))
                                      : static_cast<std::size_t>(ip_checksum_));

    std::uint16_t checksum = udp_checksum_of(ip, udp);
    if (checksum == 0) {
        checksum = 0xffff;
    }
    put_u16(
        udp, 6, udp_checksum_ == kComputed ? checksum : static_cast<std::size_t>(udp_checksum_));
    append(ip, udp);
    return ip;
}

Bytes PacketBuilder::bytes() const {
    Bytes frame;
    append(frame, to_mac_.bytes);
    append(frame, from_mac_.bytes);
    for (const Tag& tag : tags_) {
        append_u16(frame, tag.protocol);
        append_u16(frame, tag.tci);
    }
    append_u16(frame, static_cast<std::size_t>(ethertype_));
    append(frame, ip_packet());
    append(frame, trailer_);
    if (cut_to_ != kComputed) {
        frame.resize(static_cast<std::size_t>(cut_to_));
    }
    return frame;
}

ParsedPacket parse_packet(std::span<const std::uint8_t> frame) {
    ParsedPacket parsed;
    if (frame.size() < 42) {
        return parsed;
    }
    std::copy_n(frame.begin(), 6, parsed.to_mac.bytes.begin());
    std::copy_n(frame.begin() + 6, 6, parsed.from_mac.bytes.begin());
    const std::span ip = frame.subspan(14, 20);
    const std::span udp = frame.subspan(34);
    parsed.source = {v4_at(ip, 12), u16_at(udp, 0)};
    parsed.destination = {v4_at(ip, 16), u16_at(udp, 2)};
    parsed.identification = u16_at(ip, 4);
    parsed.fragment = u16_at(ip, 6);
    parsed.ttl = ip[8];
    parsed.ip_checksum_right = internet_checksum(ip) == 0;
    parsed.udp_checksum = u16_at(udp, 6);
    // With the checksum in its field the sum of everything is all ones.
    parsed.udp_checksum_right = parsed.udp_checksum != 0 && udp_checksum_of(ip, udp) == 0;
    parsed.lengths_right = u16_at(frame, 12) == 0x0800 && ip[0] == 0x45 &&
                           u16_at(ip, 2) == frame.size() - 14 && u16_at(udp, 4) == udp.size();
    parsed.payload.assign(udp.begin() + kUdpHeaderBytes, udp.end());
    return parsed;
}

}  // namespace penstock
