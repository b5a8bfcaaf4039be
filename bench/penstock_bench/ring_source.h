#pragma once

#include "penstock_bench/stamped_content.h"
#include "rig/relay_rig.h"

#include <cstdint>

struct rte_mempool;
struct rte_ring;

namespace penstock::bench {

/// The generator of one stream: puts its StampedContent into the ring of a rig's first port.
/// Thread: one for all sources of a rig.
class RingSource {
  public:
    /// `rig`: its first port is a RingPort; outlives this. `payload_bytes`, `stream`: as of
    /// StampedContent.
    RingSource(const RelayRig& rig, std::uint32_t payload_bytes, std::uint32_t stream = 0);

    /// Sends a packet that was due at `due_tsc`, unless ring or pool have no room for it.
    void send(std::uint64_t due_tsc, std::uint64_t now) noexcept;
    /// Packets since it was made.
    [[nodiscard]] std::uint64_t sent() const noexcept { return sent_; }

  private:
    rte_ring& arriving_;
    rte_mempool& pool_;
    StampedContent content_;
    std::uint64_t sent_ = 0;
};

}  // namespace penstock::bench
