#include "data_server/workers.h"

#include <fmt/format.h>
#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include <optional>
#include <utility>

namespace penstock {
namespace {

/// For want of a descriptor or of an mbuf; nullopt if the driver counts neither.
std::optional<std::uint64_t> lost_by_nic(const PortLosses& losses) {
    if (!losses.missed && !losses.no_mbuf) {
        return std::nullopt;
    }
    return losses.missed.value_or(0) + losses.no_mbuf.value_or(0);
}

}  // namespace

void Workers::RingDeleter::operator()(rte_ring* ring) const noexcept {
    void* packet = nullptr;
    while (rte_ring_dequeue(ring, &packet) == 0) {
        rte_pktmbuf_free(static_cast<rte_mbuf*>(packet));
    }
    rte_ring_free(ring);
}

Result<Workers::Ring> Workers::make_ring(const std::string& name, unsigned packets, int socket) {
    Ring ring(rte_ring_create(name.c_str(), packets, socket, RING_F_SP_ENQ | RING_F_SC_DEQ));
    if (!ring) {
        return Error{ErrorCode::exhausted,
                     fmt::format("cannot make ring {} of {} packets: {}; give more --memory",
                                 name,
                                 packets,
                                 rte_strerror(rte_errno))};
    }
    return ring;
}

Result<void> Workers::make_rings(std::size_t index, int socket) {
    State& state = *states_[index];
    const auto make = [&](Ring& ring, std::string_view what, unsigned packets) -> Result<void> {
        auto made = make_ring(fmt::format("{}{}", what, index), packets, socket);
        if (!made) {
            return std::move(made).error();
        }
        ring = std::move(made).value();
        return {};
    };
    if (auto made = make(state.session_messages, "session", kControlRingPackets); !made) {
        return made;
    }
    if (auto made = make(state.exceptions, "exceptions", kControlRingPackets); !made) {
        return made;
    }
    if (auto made = make(state.outgoing, "outgoing", kControlRingPackets); !made) {
        return made;
    }
    state.hand_over_from.resize(states_.size());
    state.shares_from.resize(states_.size());
    for (std::size_t from = 0; from < states_.size(); ++from) {
        if (from == index) {
            continue;
        }
        const std::string name = fmt::format("hand_over{}_", from);
        if (auto made = make(state.hand_over_from[from], name, kHandOverRingPackets); !made) {
            return made;
        }
        state.shares_from[from] = std::make_unique<ShareRing>(kShareRingPackets);
    }
    return {};
}

Result<std::unique_ptr<Workers>> Workers::create(const DataServerConfig& config,
                                                 const Machine& machine) {
    std::unique_ptr<Workers> workers(new Workers);
    for (unsigned i = 0; i < config.worker_count(); ++i) {
        auto state = std::make_unique<State>();
        state->streams.resize(std::size_t{config.stream_ports.last} - config.stream_ports.first +
                              1);
        workers->states_.push_back(std::move(state));
    }
    for (std::size_t i = 0; i < workers->states_.size(); ++i) {
        if (auto made = workers->make_rings(i, machine.socket()); !made) {
            return std::move(made).error();
        }
    }
    for (std::size_t i = 0; i < workers->states_.size(); ++i) {
        State& state = *workers->states_[i];
        state.worker = std::make_unique<Worker>(
            workers->config_of(i, config, machine), state.mailbox, state.counters);
        workers->commands_.emplace_back(state.mailbox, state.counters);
    }
    return workers;
}

Workers::~Workers() {
    stop();
    // Before the rings they were given.
    for (const auto& state : states_) {
        state->worker.reset();
    }
    for (const auto& state : states_) {
        for (const auto& ring : state->shares_from) {
            SharedPacket shared;
            while (ring && ring->try_pop(shared)) {
                rte_pktmbuf_free(shared.slot.packet);
            }
        }
    }
}

WorkerConfig Workers::config_of(std::size_t index,
                                const DataServerConfig& config,
                                const Machine& machine) const {
    State& state = *states_[index];
    WorkerConfig result{};
    result.index = static_cast<std::uint8_t>(index);
    result.worker_count = static_cast<std::uint8_t>(states_.size());
    result.port_count = static_cast<std::uint8_t>(machine.ports.size());
    for (std::size_t i = 0; i < machine.ports.size(); ++i) {
        const Port& port = machine.ports[i];
        const PortQueue queue = port.queue_of(index);
        result.ports[i] = {.port_id = queue.port_id,
                           .rx_queue = queue.queue,
                           .tx_queue = queue.queue,
                           .copy_mode = port.copy_mode(),
                           .copies = machine.copy_pool(index, i),
                           .mac = port.info().mac,
                           .address = config.ports[i].address.ip};
    }
    result.stream_port_first = config.stream_ports.first;
    result.streams = state.streams;
    result.payloads = machine.payloads.get();
    result.payloads_low = machine.plan.payloads_low;
    result.session_messages = state.session_messages.get();
    result.exceptions = state.exceptions.get();
    result.outgoing = state.outgoing.get();
    for (std::size_t other = 0; other < states_.size(); ++other) {
        if (other != index) {
            result.hand_over_from[other] = state.hand_over_from[other].get();
            result.hand_over_to[other] = states_[other]->hand_over_from[index].get();
            result.shares_from[other] = state.shares_from[other].get();
            result.shares_to[other] = states_[other]->shares_from[index].get();
        }
    }
    return result;
}

Result<void> Workers::start(PollMode poll) {
    for (std::size_t i = 0; i < states_.size(); ++i) {
        auto thread = WorkerThread::start(
            *states_[i]->worker, lcore_of_worker(static_cast<unsigned>(i)), poll);
        if (!thread) {
            return std::move(thread).error();
        }
        threads_.push_back(std::move(thread).value());
    }
    return {};
}

const WorkerCounters& Workers::counters(std::size_t worker) const noexcept {
    return states_[worker]->counters;
}
rte_ring& Workers::session_messages(std::size_t worker) const noexcept {
    return *states_[worker]->session_messages;
}
rte_ring& Workers::exceptions(std::size_t worker) const noexcept {
    return *states_[worker]->exceptions;
}
rte_ring& Workers::outgoing(std::size_t worker) const noexcept {
    return *states_[worker]->outgoing;
}

LoadSnapshot Workers::measure(const Machine& machine, std::uint64_t link_bits_per_second) const {
    LoadSnapshot snapshot;
    snapshot.tsc = rte_rdtsc();
    snapshot.pool_packets_used = machine.payloads.in_use();
    for (const Port& port : machine.ports) {
        const PortLosses losses = port.losses();
        snapshot.ports.push_back({.missed = lost_by_nic(losses),
                                  .link_bits_per_second = link_bits_per_second != 0
                                                              ? link_bits_per_second
                                                              : port.link_bits_per_second(),
                                  .link = port.link()});
    }
    for (std::size_t worker = 0; worker < states_.size(); ++worker) {
        const WorkerCounters& counters = states_[worker]->counters;
        snapshot.workers.push_back(
            {counters.busy_cycles.read(), counters.idle_cycles.read(), counters.iterations.read()});
        snapshot.copies += counters.copies.read();
        snapshot.packets_in += counters.content.read();
        for (const Counter& drops : counters.drops) {
            snapshot.drops += drops.read();
        }
        for (std::size_t port = 0; port < machine.ports.size(); ++port) {
            const PortCounters& counted = counters.ports[port];
            QueueSnapshot queue{.port = static_cast<std::uint32_t>(port),
                                .worker = static_cast<std::uint32_t>(worker),
                                .rx_packets = counted.rx_packets.read(),
                                .tx_packets = counted.tx_packets.read(),
                                .tx_bytes = counted.tx_bytes.read(),
                                .tx_unsent = counted.tx_unsent.read(),
                                .rx_waiting = {}};
            if (counted.rx_queue_supported.read() != 0) {
                queue.rx_waiting = counted.rx_queue_packets.read();
            }
            snapshot.queues.push_back(queue);
        }
    }
    return snapshot;
}

}  // namespace penstock
