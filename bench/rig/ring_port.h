#pragma once

#include <penstock/result.h>

#include <string>

struct rte_ring;

namespace penstock::bench {

/// A DPDK port of one queue whose wire is two rings of mbufs in this process.
struct RingPort {
    static constexpr unsigned kRingPackets = 32'768;

    std::string devargs;  // what `--port` would name it
    rte_ring* arriving;   // what is put in, the port receives; single producer
    rte_ring* leaving;    // what the port sends; single consumer, who owns what it takes
};

/// Makes the device "net_ring_NAME" while DPDK runs; device and rings live until DPDK ends.
/// Errors: exhausted, system.
Result<RingPort> make_ring_port(const std::string& name);

}  // namespace penstock::bench
