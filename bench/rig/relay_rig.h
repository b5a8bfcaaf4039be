#pragma once

#include "data_server/config.h"
#include "data_server/machine.h"
#include "data_server/stream_memory.h"
#include "data_server/stream_table.h"
#include "data_server/workers.h"
#include "rig/ring_port.h"

#include <penstock/result.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace penstock::bench {

struct RigOptions {
    std::vector<std::string> ports;  // devargs; content comes in at any
    std::size_t ring_ports = 0;      // the first of `ports`: names of RingPorts; one worker only
    std::uint8_t copies_port = 0;    // index in `ports`: where copies leave
    std::vector<unsigned> worker_cpus{1};
    std::uint64_t memory_bytes = std::uint64_t{512} << 20U;
    bool no_huge = false;
    std::uint32_t ring_packets = 4096;
    std::uint32_t streams = 1;
    std::uint32_t consumers = 64;                       // of each stream
    std::uint32_t single_streams = 0;                   // behind those, of one consumer each,
    std::uint8_t single_copies_port = 0;                // whose copies leave here
    std::optional<std::uint16_t> copy_threshold_bytes;  // as --copy-threshold
    std::uint16_t tx_descriptors = 1024;
    PollMode poll = PollMode::busy;
};

/// What all workers have done so far.
struct RigTotals {
    std::uint64_t content = 0;
    std::uint64_t copies = 0;      // made, taken by the NIC or dropped
    std::uint64_t tx_packets = 0;  // taken by the NIC
    std::uint64_t iterations = 0;
    std::uint64_t busy_cycles = 0;
    std::uint64_t cycles = 0;
    std::uint64_t drops = 0;
};

/// The relay of penstock-data, machine and workers and streams, with its flows installed by hand
/// instead of by joins. Content for stream i goes to UDP port first_udp_port() + i of the first
/// port's address. Thread: main.
class RelayRig {
  public:
    static constexpr std::uint16_t kFirstUdpPort = 20'000;
    /// The publisher of every stream, and the address of port `index`.
    static Endpoint publisher();
    static IpAddress address_of(std::size_t index);

    /// Sets up everything; the workers do not run yet. Errors: one line with what, why, what to do.
    static Result<std::unique_ptr<RelayRig>> create(const RigOptions& options);
    /// Stops the workers, if stop() has not.
    ~RelayRig();
    RelayRig(const RelayRig&) = delete;
    RelayRig& operator=(const RelayRig&) = delete;

    /// Opens the streams, installs the flows and starts the workers. Errors: as create().
    Result<void> start();
    /// After stop(): of their whole life.
    [[nodiscard]] RigTotals totals() const;
    /// Stops the workers, closes the streams, and proves that every packet and every mbuf is
    /// accounted for (received = content + given away + dropped; copies made = taken by
    /// the NICs + dropped; no mbuf is missing from its pool). Errors: system, with what is missing.
    Result<void> stop();

    [[nodiscard]] const Machine& machine() const noexcept { return machine_; }
    /// The wire of `ports[index]`, of the first ring_ports. stop() wants its rings empty.
    [[nodiscard]] const RingPort& ring_port(std::size_t index) const { return ring_ports_[index]; }
    [[nodiscard]] const WorkerCounters& counters(std::size_t worker) const {
        return workers_->counters(worker);
    }
    [[nodiscard]] std::size_t worker_count() const noexcept { return workers_->count(); }

  private:
    RelayRig(const RigOptions& options,
             DataServerConfig config,
             Machine machine,
             std::vector<RingPort> ring_ports);
    Result<void> install();
    Result<void> install(std::uint32_t stream);
    [[nodiscard]] std::uint32_t all_streams() const noexcept {
        return options_.streams + options_.single_streams;
    }
    Result<void> settle();
    /// `kept_max`: mbufs that drivers may have kept.
    Result<void> check(std::uint32_t kept_max);

    RigOptions options_;
    DataServerConfig config_;
    Machine machine_;
    std::vector<RingPort> ring_ports_;
    StreamMemory memory_;
    std::unique_ptr<Workers> workers_;  // nullptr: stopped
    RigTotals totals_;                  // once they are
    std::unique_ptr<StreamTable> streams_;
};

}  // namespace penstock::bench
