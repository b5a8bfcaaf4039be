#include "media/ts_packet.h"

namespace penstock {
namespace {

constexpr std::size_t kPcrBytes = 6;

std::uint64_t byte_at(std::span<const std::byte> bytes, std::size_t index) noexcept {
    return std::to_integer<std::uint64_t>(bytes[index]);
}

/// `field`: program_clock_reference, 33 bits of 90 kHz, 6 reserved, 9 bits of 27 MHz.
std::optional<std::uint64_t> read_pcr(std::span<const std::byte> field) noexcept {
    const std::uint64_t base = byte_at(field, 0) << 25U | byte_at(field, 1) << 17U |
                               byte_at(field, 2) << 9U | byte_at(field, 3) << 1U |
                               byte_at(field, 4) >> 7U;
    const std::uint64_t extension = (byte_at(field, 4) & 1U) << 8U | byte_at(field, 5);
    if (extension >= 300) {
        return std::nullopt;  // no such time
    }
    return base * 300 + extension;
}

}  // namespace

std::optional<TsHeader> parse_ts_packet(std::span<const std::byte> packet) noexcept {
    if (packet.size() != kTsPacketBytes || packet[0] != kTsSync) {
        return std::nullopt;
    }
    TsHeader header;
    header.is_broken = (byte_at(packet, 1) & 0x80U) != 0;
    header.pid =
        static_cast<std::uint16_t>((byte_at(packet, 1) & 0x1fU) << 8U | byte_at(packet, 2));
    header.continuity = static_cast<std::uint8_t>(byte_at(packet, 3) & 0x0fU);
    header.has_payload = (byte_at(packet, 3) & 0x10U) != 0;
    const bool has_adaptation = (byte_at(packet, 3) & 0x20U) != 0;
    if (!has_adaptation) {
        return header;
    }
    const std::uint64_t length = byte_at(packet, 4);
    if (length == 0 || length > kTsPacketBytes - 5) {
        return header;
    }
    const std::uint64_t flags = byte_at(packet, 5);
    header.is_discontinuity = (flags & 0x80U) != 0;
    if ((flags & 0x10U) != 0 && length >= 1 + kPcrBytes) {
        header.pcr = read_pcr(packet.subspan(6, kPcrBytes));
    }
    return header;
}

std::optional<std::size_t> find_ts_sync(std::span<const std::byte> bytes,
                                        std::size_t packets) noexcept {
    for (std::size_t offset = 0; offset < kTsPacketBytes && offset < bytes.size(); ++offset) {
        std::size_t seen = 0;
        std::size_t at = offset;
        while (seen < packets && at < bytes.size() && bytes[at] == kTsSync) {
            ++seen;
            at += kTsPacketBytes;
        }
        const bool all_there = seen == packets || (at >= bytes.size() && seen >= 2);
        const bool single = seen == 1 && offset == 0 && bytes.size() == kTsPacketBytes;
        if (all_there || single) {
            return offset;
        }
    }
    return std::nullopt;
}

}  // namespace penstock
