#include "rig/ring_port.h"

#include <fmt/format.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ring.h>

namespace penstock::bench {

Result<RingPort> make_ring_port(const std::string& name) {
    RingPort port{.devargs = "net_ring_" + name, .arriving = nullptr, .leaving = nullptr};
    for (rte_ring** ring : {&port.arriving, &port.leaving}) {
        const std::string ring_name =
            fmt::format("{}_{}", name, ring == &port.arriving ? "arriving" : "leaving");
        *ring = rte_ring_create(
            ring_name.c_str(), RingPort::kRingPackets, 0, RING_F_SP_ENQ | RING_F_SC_DEQ);
        if (*ring == nullptr) {
            return Error{ErrorCode::exhausted,
                         fmt::format("no ring of {} packets for port {}: {}; give more --memory",
                                     RingPort::kRingPackets,
                                     name,
                                     rte_strerror(rte_errno))};
        }
    }
    if (rte_eth_from_rings(name.c_str(), &port.arriving, 1, &port.leaving, 1, 0) < 0) {
        return Error{ErrorCode::system,
                     fmt::format("no port comes of the rings {}: {}; is DPDK's driver net_ring "
                                 "installed?",
                                 name,
                                 rte_strerror(rte_errno))};
    }
    return port;
}

}  // namespace penstock::bench
