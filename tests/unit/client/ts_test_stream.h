#pragma once

#include "media/ts_packet.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace penstock {

/// One transport stream packet, built field by field.
struct TsPacketSpec {
    std::uint16_t pid = 0x100;
    std::uint8_t continuity = 0;
    bool has_payload = true;
    bool is_broken = false;
    bool is_discontinuity = false;
    std::optional<std::uint64_t> pcr = std::nullopt;
};

inline std::vector<std::byte> ts_packet(const TsPacketSpec& spec) {
    std::vector<std::byte> packet(kTsPacketBytes, std::byte{0xff});
    const auto set = [&](std::size_t at, std::uint64_t value) {
        packet[at] = static_cast<std::byte>(value & 0xffU);
    };
    const bool has_adaptation = spec.pcr || spec.is_discontinuity || !spec.has_payload;
    set(0, 0x47);
    set(1, (spec.is_broken ? 0x80U : 0U) | spec.pid >> 8U);
    set(2, spec.pid);
    set(3, (has_adaptation ? 0x20U : 0U) | (spec.has_payload ? 0x10U : 0U) | spec.continuity);
    if (has_adaptation) {
        set(4, spec.has_payload ? 7 : 183);
        set(5, (spec.is_discontinuity ? 0x80U : 0U) | (spec.pcr ? 0x10U : 0U));
    }
    if (spec.pcr) {
        const std::uint64_t base = *spec.pcr / 300;
        const std::uint64_t extension = *spec.pcr % 300;
        set(6, base >> 25U);
        set(7, base >> 17U);
        set(8, base >> 9U);
        set(9, base >> 1U);
        set(10, (base & 1U) << 7U | 0x7eU | extension >> 8U);
        set(11, extension);
    }
    return packet;
}

inline void append(std::vector<std::byte>& to, const std::vector<std::byte>& bytes) {
    to.insert(to.end(), bytes.begin(), bytes.end());
}

}  // namespace penstock
