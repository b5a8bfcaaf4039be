#include "rig/relay_rig.h"

#include "data_path/drop_reasons.h"

#include <fmt/format.h>
#include <rte_cycles.h>
#include <rte_mempool.h>

#include <algorithm>
#include <thread>
#include <utility>

namespace penstock::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::uint32_t kOurNetwork = 0x0a00'0000;       // 10.0.0.0/8
constexpr std::uint32_t kConsumerNetwork = 0x0b00'0000;  // 11.0.0.0/8
constexpr std::uint16_t kConsumerUdpPort = 5'000;
constexpr milliseconds kPatience{30'000};
/// Streams, or flows, that workers are told of before they have to show that they keep up: one that
/// lost its CPU for a while must not find more waiting than control keeps for it.
constexpr std::uint32_t kToldAtOnce = 1'024;

DataServerConfig config_of(const RigOptions& options) {
    DataServerConfig config;
    config.id = "bench";
    for (std::size_t i = 0; i < options.ports.size(); ++i) {
        config.ports.push_back({options.ports[i], {RelayRig::address_of(i), 24}});
    }
    config.stream_ports = {RelayRig::kFirstUdpPort,
                           static_cast<std::uint16_t>(RelayRig::kFirstUdpPort + options.streams +
                                                      options.single_streams - 1)};
    config.worker_cpus = options.worker_cpus;
    config.poll = options.poll;
    config.memory_bytes = options.memory_bytes;
    config.no_huge = options.no_huge;
    config.ring_packets = options.ring_packets;
    config.streams_max = options.streams + options.single_streams;
    config.consumers_max = options.streams * options.consumers + options.single_streams;
    config.copy_threshold_bytes = options.copy_threshold_bytes;
    config.tx_descriptors = options.tx_descriptors;
    return config;
}

Error missing(std::string_view what, std::uint64_t expected, std::uint64_t found) {
    return {
        ErrorCode::system,
        fmt::format("the books do not balance: {}: {} expected, {} found", what, expected, found)};
}

/// A machine whose first `count` ports are rings, which are made between DPDK's start and the
/// ports'.
Result<Machine> set_up_rings(DataServerConfig& config,
                             std::size_t count,
                             std::vector<RingPort>& rings) {
    std::vector<PortConfig> ports = config.ports;
    config.ports.erase(config.ports.begin(),
                       config.ports.begin() + static_cast<std::ptrdiff_t>(count));
    auto eal = Machine::start_environment(config);
    if (!eal) {
        return std::move(eal).error();
    }
    for (std::size_t i = 0; i < count; ++i) {
        auto ring = make_ring_port(ports[i].devargs);
        if (!ring) {
            return std::move(ring).error();
        }
        ports[i].devargs = ring->devargs;
        rings.push_back(std::move(ring).value());
    }
    config.ports = std::move(ports);
    return Machine::set_up_ports(config, std::move(eal).value());
}

/// Of one worker: what came in is stored, given away or dropped; what was made is sent or
/// dropped.
Result<void> check_worker(const WorkerCounters& its) {
    const auto dropped = [&its](DropReason reason) {
        return its.drops[static_cast<std::size_t>(reason)].read();
    };
    std::uint64_t drops = 0;
    for (const Counter& one : its.drops) {
        drops += one.read();
    }
    // Copies that could not be made or sent; everything else dies as a received packet.
    const std::uint64_t copies_lost =
        dropped(DropReason::fanout_overrun) + dropped(DropReason::history_overrun) +
        dropped(DropReason::helper_overrun) + dropped(DropReason::no_copy_mbuf) +
        dropped(DropReason::tx_queue_full) + dropped(DropReason::port_unknown);
    std::uint64_t received = its.taken_over.read();
    std::uint64_t sent = 0;
    for (const PortCounters& port : its.ports) {
        received += port.rx_packets.read();
        sent += port.tx_packets.read();
    }
    const std::uint64_t accounted = its.content.read() + its.session_messages.read() +
                                    its.exceptions.read() + its.handed_over.read() + drops -
                                    copies_lost;
    if (received != accounted) {
        return missing("packets received", received, accounted);
    }
    const std::uint64_t made = its.copies.read() + its.sent_for_control.read();
    if (made != sent + dropped(DropReason::tx_queue_full)) {
        return missing("copies made", made, sent + dropped(DropReason::tx_queue_full));
    }
    return {};
}

/// The mbufs that drivers may not give back at their close. net_af_xdp leaves those that stand in
/// the fill ring (4096) and in the completion ring (2048) of a socket to its UMEM.
/// Source: DPDK 22.11 drivers/net/af_xdp/rte_eth_af_xdp.c, eth_dev_close(), xdp_umem_configure().
std::uint32_t kept_by_drivers(const std::vector<Port>& ports) {
    constexpr std::uint32_t kAfXdpRings = 4096 + 2048;
    const auto sockets = std::count_if(ports.begin(), ports.end(), [](const Port& port) {
        return port.info().driver == "net_af_xdp";
    });
    return kAfXdpRings * static_cast<std::uint32_t>(sockets);
}

}  // namespace

Endpoint RelayRig::publisher() { return {IpAddress::v4(kOurNetwork | 0xff09U), 4'000}; }

IpAddress RelayRig::address_of(std::size_t index) {
    return IpAddress::v4(kOurNetwork | static_cast<std::uint32_t>(index << 8U) | 1U);
}

Result<std::unique_ptr<RelayRig>> RelayRig::create(const RigOptions& options) {
    DataServerConfig config = config_of(options);
    std::vector<RingPort> ring_ports;
    auto machine = options.ring_ports > 0 ? set_up_rings(config, options.ring_ports, ring_ports)
                                          : Machine::set_up_ports(config);
    if (!machine) {
        return std::move(machine).error();
    }
    std::unique_ptr<RelayRig> rig(new RelayRig(
        options, std::move(config), std::move(machine).value(), std::move(ring_ports)));
    auto workers = Workers::create(rig->config_, rig->machine_);
    if (!workers) {
        return std::move(workers).error();
    }
    rig->workers_ = std::move(workers).value();
    rig->streams_ = std::make_unique<StreamTable>(
        stream_table_config(rig->config_, rig->machine_), rig->memory_, rig->workers_->commands());
    return rig;
}

RelayRig::RelayRig(const RigOptions& options,
                   DataServerConfig config,
                   Machine machine,
                   std::vector<RingPort> ring_ports)
    : options_(options),
      config_(std::move(config)),
      machine_(std::move(machine)),
      ring_ports_(std::move(ring_ports)),
      memory_(machine_.plan.ring_packets, machine_.ports.size(), machine_.socket()) {}

RelayRig::~RelayRig() {
    if (workers_) {
        workers_->stop();
    }
}

Result<void> RelayRig::start() {
    if (auto started = workers_->start(options_.poll); !started) {
        return started;
    }
    return install();
}

Result<void> RelayRig::install() {
    for (std::uint32_t i = 0; i < all_streams(); ++i) {
        if (auto kept_up = i % kToldAtOnce == 0 ? settle() : Result<void>{}; !kept_up) {
            return kept_up;
        }
        if (auto opened = streams_->open(StreamId{i + 1U}, fmt::format("s{}", i)); !opened) {
            return std::move(opened).error();
        }
    }
    if (auto settled = settle(); !settled) {
        return settled;
    }
    for (std::uint32_t i = 0; i < all_streams(); ++i) {
        if (auto installed = install(i); !installed) {
            return installed;
        }
    }
    for (std::uint32_t i = 0; i < all_streams(); ++i) {
        streams_->set_publisher(StreamId{i + 1U}, publisher(), FlowId{i + 1U});
    }
    return settle();
}

Result<void> RelayRig::install(std::uint32_t stream) {
    const bool single = stream >= options_.streams;
    const std::uint32_t singles_before = single ? stream - options_.streams : 0;
    const std::uint32_t first = (stream - singles_before) * options_.consumers + singles_before;
    const std::uint8_t port = single ? options_.single_copies_port : options_.copies_port;
    for (std::uint32_t n = 0; n < (single ? 1 : options_.consumers); ++n) {
        const std::uint32_t number = first + n;
        if (auto kept_up = number % kToldAtOnce == 0 ? settle() : Result<void>{}; !kept_up) {
            return kept_up;
        }
        FlowPlace place{};
        place.flow = FlowId{(std::uint64_t{1} << 32U) + number};
        place.port = port;
        place.local = {address_of(port), static_cast<std::uint16_t>(kFirstUdpPort + stream)};
        place.address = {IpAddress::v4(kConsumerNetwork + number), kConsumerUdpPort};
        place.next_hop.bytes = {2,
                                0,
                                1,
                                static_cast<std::uint8_t>(number >> 16U),
                                static_cast<std::uint8_t>(number >> 8U),
                                static_cast<std::uint8_t>(number)};
        if (auto added = streams_->add_flow(StreamId{stream + 1U}, place, 0, 0); !added) {
            return added;
        }
        // This one opened a share, if there is a worker without: the next ones may go there.
        if (n > 0 && n % kSharedFrom == 0 && n / kSharedFrom < workers_->count()) {
            if (auto settled = settle(); !settled) {
                return settled;
            }
        }
    }
    return {};
}

Result<void> RelayRig::settle() {
    const auto give_up = steady_clock::now() + kPatience;
    for (;;) {
        streams_->advance();
        if (streams_->has_settled()) {
            return {};
        }
        if (steady_clock::now() > give_up) {
            return Error{ErrorCode::timed_out, "the workers do not apply what they are told"};
        }
        std::this_thread::sleep_for(milliseconds{1});
    }
}

RigTotals RelayRig::totals() const {
    if (!workers_) {
        return totals_;
    }
    RigTotals totals;
    for (std::size_t i = 0; i < workers_->count(); ++i) {
        const WorkerCounters& counters = workers_->counters(i);
        totals.content += counters.content.read();
        totals.copies += counters.copies.read();
        totals.iterations += counters.iterations.read();
        totals.busy_cycles += counters.busy_cycles.read();
        totals.cycles += counters.busy_cycles.read() + counters.idle_cycles.read();
        for (const Counter& drops : counters.drops) {
            totals.drops += drops.read();
        }
        for (const PortCounters& port : counters.ports) {
            totals.tx_packets += port.tx_packets.read();
        }
    }
    return totals;
}

Result<void> RelayRig::stop() {
    for (std::uint32_t i = 0; i < all_streams(); ++i) {
        streams_->close(StreamId{i + 1U});
    }
    if (auto settled = settle(); !settled) {
        return settled;
    }
    workers_->stop();
    const std::uint32_t kept_max = kept_by_drivers(machine_.ports);
    machine_.ports.clear();  // NICs and their drivers give back what they hold
    return check(kept_max);
}

Result<void> RelayRig::check(std::uint32_t kept_max) {
    std::uint64_t handed_over = 0;
    std::uint64_t taken_over = 0;
    std::uint64_t given = 0;
    std::uint64_t taken = 0;
    for (std::size_t i = 0; i < workers_->count(); ++i) {
        const WorkerCounters& its = workers_->counters(i);
        if (auto checked = check_worker(its); !checked) {
            return checked;
        }
        handed_over += its.handed_over.read();
        taken_over += its.taken_over.read();
        given += its.given_to_helpers.read();
        taken += its.taken_to_help.read();
    }
    if (handed_over < taken_over) {
        return missing("packets between workers", handed_over, taken_over);
    }
    if (given != taken) {
        return missing("packets for shares", given, taken);
    }
    totals_ = totals();
    workers_.reset();  // and the mbufs they had ready
    std::uint32_t in_use = machine_.payloads.in_use() + machine_.control_frames.in_use();
    for (const PacketPool& copies : machine_.copies) {
        in_use += copies.in_use();
    }
    in_use -= static_cast<std::uint32_t>(handed_over - taken_over);  // still in the rings between
    if (in_use > kept_max) {
        return missing("mbufs not back in their pools", kept_max, in_use);
    }
    return {};
}

}  // namespace penstock::bench
