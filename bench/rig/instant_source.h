#pragma once

#include "base/cache_line.h"
#include "rig/capture_file.h"

#include <penstock/result.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

struct rte_mbuf;
struct rte_mempool;

namespace penstock::bench {

/// Content that costs the worker who receives it what it would cost from a NIC: mbufs out of their
/// pool and a cache line of headers each. A NIC writes the rest of a packet by itself (DMA), where
/// net_pcap has the worker copy it. Here it lies in the mbufs beforehand: zeros. One port of
/// net_null, whose queues all bring the same.
class InstantSource {
  public:
    /// Of the port, whose packets are `content.payload_bytes` long.
    static std::string devargs(const CaptureContent& content);

    /// Has queues 0..`queues`-1 of `port_id`, a port of those devargs, bring `content`. Call before
    /// anything is received. `pool`: what it receives into, not in use yet.
    /// Errors: system, with what DPDK lacks.
    static Result<std::unique_ptr<InstantSource>> start(std::uint16_t port_id,
                                                        std::size_t queues,
                                                        const CaptureContent& content,
                                                        rte_mempool& pool);

  private:
    using Line = std::array<std::uint8_t, kCacheLineBytes>;
    struct alignas(kCacheLineBytes) Queue {
        const std::vector<Line>* lines;
        std::size_t next;
    };

    static std::uint16_t fill(std::uint16_t port,
                              std::uint16_t queue,
                              rte_mbuf** packets,
                              std::uint16_t count,
                              std::uint16_t count_max,
                              void* its);

    std::vector<Line> lines_;  // one a packet: headers, and the first bytes of a payload of zeros
    std::vector<Queue> queues_;
};

}  // namespace penstock::bench
