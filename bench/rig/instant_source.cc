#include "rig/instant_source.h"

#include "data_path/packet_headers.h"

#include <fmt/format.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_prefetch.h>

#include <algorithm>
#include <cstring>

namespace penstock::bench {
namespace {

void clear_data(rte_mempool* /*pool*/, void* /*argument*/, void* object, unsigned /*index*/) {
    auto* const packet = static_cast<rte_mbuf*>(object);
    std::memset(packet->buf_addr, 0, packet->buf_len);
}

/// `lines`: a cache line for each packet. Wide stores, where the CPU has them: this is the work of
/// a NIC, not of the worker.
#if defined(__x86_64__)
[[gnu::target_clones("avx512f", "avx2", "default")]]
#endif
void put(rte_mbuf* const* packets, std::size_t count, const std::uint8_t* lines) noexcept {
    for (std::size_t i = 0; i < count; ++i) {
        rte_prefetch0(rte_pktmbuf_mtod(packets[i], void*));
    }
    for (std::size_t i = 0; i < count; ++i) {
        std::memcpy(
            rte_pktmbuf_mtod(packets[i], void*), lines + i * kCacheLineBytes, kCacheLineBytes);
    }
}

}  // namespace

std::string InstantSource::devargs(std::uint32_t payload_bytes) {
    return fmt::format("net_null1,size={}", kIpv4FrameHeaderBytes + payload_bytes);
}

Result<std::unique_ptr<InstantSource>> InstantSource::start(
    std::uint16_t port_id, const std::vector<CaptureContent>& contents, rte_mempool& pool) {
    rte_mempool_obj_iter(&pool, clear_data, nullptr);
    auto source = std::make_unique<InstantSource>();
    source->queues_.resize(contents.size());
    for (std::size_t i = 0; i < contents.size(); ++i) {
        Queue& queue = source->queues_[i];
        const CaptureContent& content = contents[i];
        const std::vector<std::uint8_t> payload(content.payload_bytes);
        for (std::uint32_t packet = 0; packet < content.packets; ++packet) {
            const std::uint16_t udp_port = content.udp_ports[packet % content.udp_ports.size()];
            const std::vector<std::uint8_t> frame = frame_of(content, udp_port, payload);
            Line line{};
            std::copy_n(frame.begin(), std::min(frame.size(), line.size()), line.begin());
            queue.lines.push_back(line);
        }
        if (rte_eth_add_rx_callback(port_id, static_cast<std::uint16_t>(i), fill, &queue) ==
            nullptr) {
            return Error{ErrorCode::system,
                         "DPDK does not let us fill what is received: it was built without "
                         "RTE_ETHDEV_RXTX_CALLBACKS"};
        }
    }
    return source;
}

/// In the worker's thread, on what net_null has just taken out of the pool.
std::uint16_t InstantSource::fill(std::uint16_t /*port*/,
                                  std::uint16_t /*queue*/,
                                  rte_mbuf** packets,
                                  std::uint16_t count,
                                  std::uint16_t /*count_max*/,
                                  void* its) {
    auto& queue = *static_cast<Queue*>(its);
    for (std::size_t done = 0; done < count;) {
        const std::size_t now = std::min(count - done, queue.lines.size() - queue.next);
        put(packets + done, now, queue.lines[queue.next].data());
        queue.next += now;
        queue.next = queue.next < queue.lines.size() ? queue.next : 0;
        done += now;
    }
    return count;
}

}  // namespace penstock::bench
