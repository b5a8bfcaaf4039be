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
/// net_null, all of whose packets have the same size.
class InstantSource {
  public:
    static std::string devargs(std::uint32_t payload_bytes);

    /// Has each queue of `port_id`, a port of those devargs, bring its content (of `contents`, by
    /// queue), whose payload is as long or shorter. Call before anything is received. `pool`: what
    /// it receives into, not in use yet. Errors: system, with what DPDK lacks.
    static Result<std::unique_ptr<InstantSource>> start(std::uint16_t port_id,
                                                        const std::vector<CaptureContent>& contents,
                                                        rte_mempool& pool);

  private:
    using Line = std::array<std::uint8_t, kCacheLineBytes>;
    /// What of a packet's line is its own, as it lies there.
    struct Own {
        std::uint16_t udp_port;
        std::uint16_t udp_checksum;
    };
    struct alignas(kCacheLineBytes) Queue {
        Line common{};         // headers, and the first bytes of the payload, zeros for what is Own
        std::vector<Own> own;  // of each packet: little, for a NIC reads nothing through our caches
        std::size_t next = 0;
    };

    static void put(rte_mbuf* const* packets,
                    std::size_t count,
                    const Line& common,
                    const Own* own) noexcept;

    static std::uint16_t fill(std::uint16_t port,
                              std::uint16_t queue,
                              rte_mbuf** packets,
                              std::uint16_t count,
                              std::uint16_t count_max,
                              void* its);

    std::vector<Queue> queues_;
};

}  // namespace penstock::bench
