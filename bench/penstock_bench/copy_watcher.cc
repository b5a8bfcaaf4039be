#include "penstock_bench/copy_watcher.h"

#include "penstock_bench/cycles.h"
#include "penstock_bench/stamped_content.h"

#include <rte_cycles.h>
#include <rte_ethdev.h>

namespace penstock::bench {

Result<void> CopyWatcher::watch(PortQueue port) {
    if (rte_eth_add_tx_callback(port.port_id, port.queue, look_at, this) == nullptr) {
        return Error{ErrorCode::system,
                     "DPDK does not let us see what is sent: it was built without "
                     "RTE_ETHDEV_RXTX_CALLBACKS"};
    }
    clock_ = FanOutClock(consumers_, cycles_of(kOnTime));
    return {};
}

/// What rte_eth_tx_burst() is given. Thread: the worker.
/// Source: DPDK 22.11 rte_ethdev.h, rte_tx_callback_fn.
std::uint16_t CopyWatcher::look_at(std::uint16_t /*port*/,
                                   std::uint16_t /*queue*/,
                                   rte_mbuf** copies,
                                   std::uint16_t count,
                                   void* watcher) {
    const std::uint64_t now = rte_rdtsc();
    auto& its = *static_cast<CopyWatcher*>(watcher);
    for (std::uint16_t i = 0; i < count; ++i) {
        its.clock_.take(StampedContent::read(*copies[i]), now);
    }
    its.copies_.add_and_release(count);
    return count;
}

}  // namespace penstock::bench
