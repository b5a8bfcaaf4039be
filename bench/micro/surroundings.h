#pragma once

#include "data_path/burst.h"
#include "data_path/worker_config.h"
#include "dpdk/eal.h"
#include "dpdk/packet_pool.h"
#include "dpdk/port.h"

#include <penstock/result.h>

#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>

struct rte_ring;

namespace penstock::bench {

/// What a worker finds around itself, for the parts of one that are measured alone: DPDK on plain
/// memory, pools, the rings to control, and a port whose driver drops what it is given.
/// Thread: main, which is in the worker's place.
class Surroundings {
  public:
    /// DPDK is started: once per process. Errors: one line with what, why, what to do.
    static Result<std::unique_ptr<Surroundings>> create();
    ~Surroundings();
    Surroundings(const Surroundings&) = delete;
    Surroundings& operator=(const Surroundings&) = delete;

    [[nodiscard]] const WorkerConfig& config() const noexcept { return config_; }
    /// Packets as they are received.
    [[nodiscard]] PacketPool& received() noexcept { return received_; }
    /// Mbufs taken and not given back, of all pools.
    [[nodiscard]] std::uint32_t mbufs_in_use() const noexcept {
        return received_.in_use() + copies_.in_use();
    }
    /// Frees what was given to control.
    void empty_rings() noexcept;

    /// Ends a benchmark whose result is wrong: what it measured is not what it claims.
    void fail(benchmark::State& state, const std::string& why);
    [[nodiscard]] bool any_failed() const noexcept { return any_failed_; }

  private:
    static constexpr unsigned kRings = 2;  // session messages, exceptions
    struct Parts {
        Eal eal;
        PacketPool received;
        PacketPool copies;
        Port port;
        std::array<rte_ring*, kRings> rings;
    };
    explicit Surroundings(Parts parts);

    Eal eal_;
    PacketPool received_;
    PacketPool copies_;
    Port port_;
    std::array<rte_ring*, kRings> rings_;
    std::array<Stream*, 100> streams_{};
    WorkerConfig config_{};
    bool any_failed_ = false;
};

/// The time of one piece of work, apart from what an iteration does before and after it: by the
/// TSC, for benchmarks with UseManualTime().
class WorkTime {
  public:
    explicit WorkTime(benchmark::State& state) noexcept : state_(state) {}

    void begin() noexcept;
    /// Counts as the present iteration's time.
    void end() noexcept;
    /// Reports what one of `items` took, as cycles_per_`item` of the TSC and as items a second.
    void report(const std::string& item, std::uint64_t items);

  private:
    benchmark::State& state_;
    std::uint64_t began_ = 0;
    std::uint64_t cycles_ = 0;
};

/// Each registers its benchmarks, which use `surroundings` until the process ends.
void register_classify(Surroundings& surroundings);
void register_stream_ring(Surroundings& surroundings);
void register_replicate(Surroundings& surroundings);
void register_least_busy(Surroundings& surroundings);
void register_presence_core(Surroundings& surroundings);

}  // namespace penstock::bench
