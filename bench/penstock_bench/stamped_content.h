#pragma once

#include "rig/capture_file.h"

#include <cstdint>
#include <vector>

struct rte_mbuf;

namespace penstock::bench {

/// What a packet tells of itself, at the front of its payload, in this machine's byte order.
struct Stamp {
    std::uint64_t due_tsc = 0;  // when it was to be sent, whether or not that came true
    std::uint32_t number = 0;
    std::uint32_t late_cycles = 0;  // after which it was put into the port's ring
};
static_assert(sizeof(Stamp) == 16);

/// Makes content that carries stamps under a valid UDP checksum, and reads them from copies of it.
class StampedContent {
  public:
    /// `content.payload_bytes`: sizeof(Stamp) or more. For stream number `stream` of a RelayRig.
    explicit StampedContent(const CaptureContent& content, std::uint32_t stream = 0);

    /// Fills an mbuf fresh from its pool, which has the room.
    void write(rte_mbuf& packet, const Stamp& stamp) const noexcept;
    /// `copy`: as the relay sends them over IPv4: chained behind its headers, or in one piece.
    static Stamp read(const rte_mbuf& copy) noexcept;

    [[nodiscard]] std::uint32_t frame_bytes() const noexcept {
        return static_cast<std::uint32_t>(frame_.size());
    }

  private:
    std::vector<std::uint8_t> frame_;  // with a stamp of zeros
    std::uint16_t sum_;                // that its UDP checksum is the complement of
};

}  // namespace penstock::bench
