#include "rig/instant_source.h"

#include "data_path/packet_headers.h"

#include <fmt/format.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_prefetch.h>

#include <algorithm>
#include <cstring>
#include <span>

namespace penstock::bench {
namespace {

void clear_data(rte_mempool* /*pool*/, void* /*argument*/, void* object, unsigned /*index*/) {
    auto* const packet = static_cast<rte_mbuf*>(object);
    std::memset(packet->buf_addr, 0, packet->buf_len);
}

/// Two bytes of a line, which are zeros afterwards.
std::uint16_t take_word(std::span<std::uint8_t> line, std::size_t at) noexcept {
    std::uint16_t word = 0;
    std::memcpy(&word, &line[at], sizeof(word));
    std::memset(&line[at], 0, sizeof(word));
    return word;
}

constexpr std::size_t kUdpPortAt = kEthernetBytes + kIpv4Bytes + offsetof(rte_udp_hdr, dst_port);

}  // namespace

/// Wide stores, where the CPU has them: this is the work of a NIC, not of the worker.
#if defined(__x86_64__)
[[gnu::target_clones("avx512f", "avx2", "default")]]
#endif
void InstantSource::put(rte_mbuf* const* packets,
                        std::size_t count,
                        const Line& common,
                        const Own* own) noexcept {
    using Half [[gnu::vector_size(kCacheLineBytes / 2)]] = std::uint64_t;
    static_assert(kUdpPortAt == 36 && kUdpChecksumAt == 40);
    Half first;
    Half second;
    std::memcpy(&first, common.data(), sizeof(first));
    std::memcpy(&second, common.data() + sizeof(first), sizeof(second));
    for (std::size_t i = 0; i < count; ++i) {
        rte_prefetch0(rte_pktmbuf_mtod(packets[i], void*));
    }
    for (std::size_t i = 0; i < count; ++i) {
        auto* const frame = rte_pktmbuf_mtod(packets[i], std::uint8_t*);
        const Half its_own{std::uint64_t{own[i].udp_port} << 32U, own[i].udp_checksum, 0, 0};
        const Half rest = second | its_own;
        std::memcpy(frame, &first, sizeof(first));
        std::memcpy(frame + sizeof(first), &rest, sizeof(rest));
    }
}

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
            queue.common = {};
            std::copy_n(
                frame.begin(), std::min(frame.size(), queue.common.size()), queue.common.begin());
            queue.own.push_back({.udp_port = take_word(queue.common, kUdpPortAt),
                                 .udp_checksum = take_word(queue.common, kUdpChecksumAt)});
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
        const std::size_t now = std::min(count - done, queue.own.size() - queue.next);
        put(packets + done, now, queue.common, &queue.own[queue.next]);
        queue.next += now;
        queue.next = queue.next < queue.own.size() ? queue.next : 0;
        done += now;
    }
    return count;
}

}  // namespace penstock::bench
