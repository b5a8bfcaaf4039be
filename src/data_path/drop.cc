#include "data_path/drop.h"

namespace penstock {

void drop(Burst packets, DropReason reason, WorkerCounters& counters) noexcept {
    rte_pktmbuf_free_bulk(packets.data(), static_cast<unsigned>(packets.size()));
    counters.drops[static_cast<std::size_t>(reason)].add(packets.size());
}

}  // namespace penstock
