#include "penstock_bench/ring_source.h"

#include <rte_mbuf.h>
#include <rte_ring.h>

namespace penstock::bench {
namespace {

CaptureContent content_of(const RelayRig& rig, std::uint32_t payload_bytes) {
    CaptureContent content;
    content.to_mac = rig.machine().ports.front().info().mac;
    content.to = RelayRig::address_of(0);
    content.from = RelayRig::publisher();
    content.payload_bytes = payload_bytes;
    return content;
}

}  // namespace

RingSource::RingSource(const RelayRig& rig, std::uint32_t payload_bytes, std::uint32_t stream)
    : arriving_(*rig.ring_port(0).arriving),
      pool_(*rig.machine().payloads.get()),
      content_(content_of(rig, payload_bytes), stream) {}

void RingSource::send(std::uint64_t due_tsc, std::uint64_t now) noexcept {
    rte_mbuf* const packet = rte_pktmbuf_alloc(&pool_);
    if (packet == nullptr) {
        return;
    }
    content_.write(*packet,
                   {.due_tsc = due_tsc,
                    .number = static_cast<std::uint32_t>(sent_),
                    .late_cycles = static_cast<std::uint32_t>(now - due_tsc)});
    if (rte_ring_sp_enqueue(&arriving_, packet) != 0) {
        rte_pktmbuf_free(packet);
        return;
    }
    ++sent_;
}

}  // namespace penstock::bench
