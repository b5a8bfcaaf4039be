#include "penstock_publish/pcap_reader.h"

#include <fmt/format.h>

#include <cstring>

namespace penstock {
namespace {

constexpr std::size_t kFileHeaderBytes = 24;
constexpr std::size_t kRecordHeaderBytes = 16;
constexpr std::uint32_t kMagicMicroseconds = 0xa1b2c3d4;
constexpr std::uint32_t kMagicNanoseconds = 0xa1b23c4d;
constexpr std::uint32_t kMagicPcapng = 0x0a0d0d0a;
constexpr std::uint32_t kLinkTypeEthernet = 1;

constexpr std::size_t kEthernetBytes = 14;
constexpr std::size_t kVlanBytes = 4;
constexpr std::size_t kIpv4BytesMin = 20;
constexpr std::size_t kUdpBytes = 8;
constexpr std::uint32_t kEtherTypeIpv4 = 0x0800;
constexpr std::uint32_t kEtherTypeVlan = 0x8100;
constexpr std::uint32_t kEtherTypeServiceVlan = 0x88a8;
constexpr unsigned kProtocolUdp = 17;

unsigned byte_at(std::span<const std::byte> bytes, std::size_t index) noexcept {
    return std::to_integer<unsigned>(bytes[index]);
}
unsigned big_endian16(std::span<const std::byte> bytes, std::size_t index) noexcept {
    return byte_at(bytes, index) << 8U | byte_at(bytes, index + 1);
}
std::uint32_t native32(std::span<const std::byte> bytes, std::size_t index) noexcept {
    std::uint32_t value = 0;
    std::memcpy(&value, bytes.data() + index, sizeof(value));
    return value;
}

Error damaged(std::size_t offset, const char* what) {
    return {ErrorCode::invalid_argument,
            fmt::format("the capture is damaged at byte {}: {}; capture it again or cut it there",
                        offset,
                        what)};
}

}  // namespace

std::optional<std::span<const std::byte>> udp_payload_of(
    std::span<const std::byte> frame) noexcept {
    if (frame.size() < kEthernetBytes) {
        return std::nullopt;
    }
    std::size_t type_at = kEthernetBytes - 2;
    for (int tags = 0; tags < 2; ++tags) {
        const unsigned type = big_endian16(frame, type_at);
        if (type != kEtherTypeVlan && type != kEtherTypeServiceVlan) {
            break;
        }
        type_at += kVlanBytes;
        if (frame.size() < type_at + 2) {
            return std::nullopt;
        }
    }
    const std::span<const std::byte> ip = frame.subspan(type_at + 2);
    if (big_endian16(frame, type_at) != kEtherTypeIpv4 || ip.size() < kIpv4BytesMin ||
        byte_at(ip, 0) >> 4U != 4) {
        return std::nullopt;
    }
    const std::size_t header_bytes = (byte_at(ip, 0) & 0x0fU) * 4;
    const std::size_t total_bytes = big_endian16(ip, 2);
    const bool is_fragment = (big_endian16(ip, 6) & 0x3fffU) != 0;
    if (header_bytes < kIpv4BytesMin || total_bytes < header_bytes + kUdpBytes ||
        total_bytes > ip.size() || is_fragment || byte_at(ip, 9) != kProtocolUdp) {
        return std::nullopt;
    }
    const std::span<const std::byte> udp = ip.subspan(header_bytes, total_bytes - header_bytes);
    const std::size_t udp_bytes = big_endian16(udp, 4);
    if (udp_bytes < kUdpBytes || udp_bytes > udp.size()) {
        return std::nullopt;
    }
    return udp.subspan(kUdpBytes, udp_bytes - kUdpBytes);
}

Result<PcapReader> PcapReader::open(std::vector<std::byte> file) {
    if (file.size() < kFileHeaderBytes) {
        return Error{
            ErrorCode::invalid_argument,
            fmt::format(
                "not a capture: {} bytes, its head alone has {}", file.size(), kFileHeaderBytes)};
    }
    const std::uint32_t magic = native32(file, 0);
    if (magic == kMagicPcapng) {
        return Error{ErrorCode::invalid_argument,
                     "a pcapng capture; make a classic one of it: editcap -F pcap IN OUT"};
    }
    const std::uint32_t swapped = __builtin_bswap32(magic);
    const bool is_plain = magic == kMagicMicroseconds || magic == kMagicNanoseconds;
    const bool is_swapped = swapped == kMagicMicroseconds || swapped == kMagicNanoseconds;
    if (!is_plain && !is_swapped) {
        return Error{ErrorCode::invalid_argument,
                     "not a capture: it does not begin with the mark of pcap"};
    }
    const bool is_nanoseconds = (is_plain ? magic : swapped) == kMagicNanoseconds;
    PcapReader reader(std::move(file), is_swapped, is_nanoseconds);
    // The upper bits tell of frame check sequences, which the IP length leaves out anyway.
    const std::uint32_t link_type = reader.number_at(20) & 0xffffU;
    if (link_type != kLinkTypeEthernet) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("a capture of link type {}; give one of Ethernet (1), as of any "
                                 "interface but 'any'",
                                 link_type)};
    }
    return reader;
}

std::uint32_t PcapReader::number_at(std::size_t offset) const noexcept {
    const std::uint32_t value = native32(file_, offset);
    return is_swapped_ ? __builtin_bswap32(value) : value;
}

void PcapReader::rewind() noexcept {
    offset_ = kFileHeaderBytes;
    frames_left_out_ = 0;
}

Result<std::optional<CapturedDatagram>> PcapReader::next() {
    while (offset_ < file_.size()) {
        if (file_.size() - offset_ < kRecordHeaderBytes) {
            return damaged(offset_, "a record's head is cut off");
        }
        const std::uint32_t seconds = number_at(offset_);
        const std::uint32_t fraction = number_at(offset_ + 4);
        const std::uint32_t captured = number_at(offset_ + 8);
        if (captured > kFrameBytesMax) {
            return damaged(offset_, "a record of impossible length");
        }
        if (file_.size() - offset_ - kRecordHeaderBytes < captured) {
            return damaged(offset_, "a record is cut off");
        }
        const std::span<const std::byte> frame =
            std::span(file_).subspan(offset_ + kRecordHeaderBytes, captured);
        offset_ += kRecordHeaderBytes + captured;
        if (const auto payload = udp_payload_of(frame)) {
            const std::chrono::nanoseconds part =
                is_nanoseconds_ ? std::chrono::nanoseconds{fraction}
                                : std::chrono::nanoseconds{std::chrono::microseconds{fraction}};
            return std::optional(CapturedDatagram{std::chrono::seconds{seconds} + part, *payload});
        }
        ++frames_left_out_;
    }
    return std::optional<CapturedDatagram>{};
}

}  // namespace penstock
