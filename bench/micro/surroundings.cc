#include "micro/surroundings.h"

#include "rig/relay_rig.h"

#include <fmt/format.h>
#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include <utility>

namespace penstock::bench {
namespace {

constexpr const char* kPort = "net_null0,no-rx=1";
constexpr std::uint64_t kMemoryBytes = std::uint64_t{192} << 20U;
constexpr std::uint32_t kMbufs = 8'191;
constexpr std::uint32_t kInlinePayloadBytesMax = 64;
constexpr std::uint16_t kCopyRoom =
    RTE_PKTMBUF_HEADROOM + kCopyHeaderBytes + kInlinePayloadBytesMax;
constexpr unsigned kRingPackets = 64;  // more than a burst

}  // namespace

Result<std::unique_ptr<Surroundings>> Surroundings::create() {
    EalOptions options;
    options.program = "penstock-bench-micro";
    options.memory_bytes = kMemoryBytes;
    options.no_huge = true;
    options.devices = {kPort};
    auto eal = Eal::start(options);
    if (!eal) {
        return std::move(eal).error();
    }
    auto received = PacketPool::create("received", kMbufs, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
    if (!received) {
        return std::move(received).error();
    }
    auto copies = PacketPool::create("copies", kMbufs, kCopyRoom, 0);
    if (!copies) {
        return std::move(copies).error();
    }
    PortOptions port_options;
    port_options.devargs = kPort;
    port_options.inline_payload_bytes_max = kInlinePayloadBytesMax;
    auto port = Port::open(port_options, received->get());
    if (!port) {
        return std::move(port).error();
    }
    if (auto started = port->start(); !started) {
        return started.error();
    }
    std::array<rte_ring*, kRings> rings{};
    for (unsigned i = 0; i < kRings; ++i) {
        rings[i] = rte_ring_create(
            fmt::format("control{}", i).c_str(), kRingPackets, 0, RING_F_SP_ENQ | RING_F_SC_DEQ);
        if (rings[i] == nullptr) {
            return Error{
                ErrorCode::exhausted,
                fmt::format("no ring of {} packets: {}", kRingPackets, rte_strerror(rte_errno))};
        }
    }
    return std::unique_ptr<Surroundings>(new Surroundings({.eal = std::move(eal).value(),
                                                           .received = std::move(received).value(),
                                                           .copies = std::move(copies).value(),
                                                           .port = std::move(port).value(),
                                                           .rings = rings}));
}

Surroundings::Surroundings(Parts parts)
    : eal_(std::move(parts.eal)),
      received_(std::move(parts.received)),
      copies_(std::move(parts.copies)),
      port_(std::move(parts.port)),
      rings_(parts.rings) {
    config_.worker_count = 1;
    config_.port_count = 1;
    config_.ports[0] = {.port_id = port_.id(),
                        .rx_queue = 0,
                        .tx_queue = 0,
                        .copy_mode = port_.copy_mode(),
                        .copies = copies_.get(),
                        .mac = port_.info().mac,
                        .address = RelayRig::address_of(0)};
    config_.stream_port_first = RelayRig::kFirstUdpPort;
    config_.streams = streams_;
    config_.session_messages = rings_[0];
    config_.exceptions = rings_[1];
}

Surroundings::~Surroundings() {
    empty_rings();
    for (rte_ring* ring : rings_) {
        rte_ring_free(ring);
    }
}

void Surroundings::empty_rings() noexcept {
    for (rte_ring* ring : rings_) {
        std::array<rte_mbuf*, kRingPackets> packets;
        const unsigned count = rte_ring_sc_dequeue_burst(
            ring, reinterpret_cast<void**>(packets.data()), kRingPackets, nullptr);
        rte_pktmbuf_free_bulk(packets.data(), count);
    }
}

void Surroundings::fail(benchmark::State& state, const std::string& why) {
    any_failed_ = true;
    state.SkipWithError(why.c_str());
}

void WorkTime::begin() noexcept { began_ = rte_rdtsc_precise(); }

void WorkTime::end() noexcept {
    const std::uint64_t cycles = rte_rdtsc_precise() - began_;
    cycles_ += cycles;
    state_.SetIterationTime(static_cast<double>(cycles) / static_cast<double>(rte_get_tsc_hz()));
}

void WorkTime::report(const std::string& item, std::uint64_t items) {
    state_.SetItemsProcessed(static_cast<std::int64_t>(items));
    state_.counters["cycles_per_" + item] =
        static_cast<double>(cycles_) / static_cast<double>(items);
}

}  // namespace penstock::bench
