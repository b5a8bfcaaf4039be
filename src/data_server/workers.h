#pragma once

#include "data_path/worker.h"
#include "data_server/load_report.h"
#include "data_server/machine.h"
#include "data_server/worker_commands.h"
#include "data_server/worker_thread.h"

#include <penstock/result.h>

#include <memory>
#include <span>
#include <vector>

struct rte_ring;

namespace penstock {

/// The workers of a data server: their rings, mailboxes, counters and threads. Thread: main.
class Workers {
  public:
    /// Makes them; none runs yet. `machine` outlives them. Errors: exhausted.
    static Result<std::unique_ptr<Workers>> create(const DataServerConfig& config,
                                                   const Machine& machine);
    /// Stops them and frees what lies in their rings.
    ~Workers();
    Workers(const Workers&) = delete;
    Workers& operator=(const Workers&) = delete;

    Result<void> start(PollMode poll);
    /// Returns when each has finished its last turn.
    void stop() noexcept { threads_.clear(); }

    [[nodiscard]] std::size_t count() const noexcept { return states_.size(); }
    [[nodiscard]] std::span<WorkerCommands> commands() noexcept { return commands_; }
    [[nodiscard]] const WorkerCounters& counters(std::size_t worker) const noexcept;
    /// Worker → control.
    [[nodiscard]] rte_ring& session_messages(std::size_t worker) const noexcept;
    [[nodiscard]] rte_ring& exceptions(std::size_t worker) const noexcept;
    /// Control → worker: complete frames, mbuf->port set.
    [[nodiscard]] rte_ring& outgoing(std::size_t worker) const noexcept;

    /// Every counter now. `link_bits_per_second`: of each port, 0 to ask its driver.
    [[nodiscard]] LoadSnapshot measure(const Machine& machine,
                                       std::uint64_t link_bits_per_second) const;

  private:
    struct RingDeleter {
        void operator()(rte_ring* ring) const noexcept;
    };
    using Ring = std::unique_ptr<rte_ring, RingDeleter>;
    struct State {
        Mailbox mailbox{kMailboxCommands};
        WorkerCounters counters;
        Ring session_messages;
        Ring exceptions;
        Ring outgoing;
        std::vector<Ring> hand_over_from;  // by sender; none from itself
        std::vector<std::unique_ptr<ShareRing>> shares_from;
        std::vector<Stream*> streams;  // the worker's table, by UDP port
        std::unique_ptr<Worker> worker;
    };

    Workers() = default;
    static Result<Ring> make_ring(const std::string& name, unsigned packets, int socket);
    Result<void> make_rings(std::size_t index, int socket);
    [[nodiscard]] WorkerConfig config_of(std::size_t index,
                                         const DataServerConfig& config,
                                         const Machine& machine) const;

    std::vector<std::unique_ptr<State>> states_;
    std::vector<WorkerCommands> commands_;
    std::vector<WorkerThread> threads_;
};

}  // namespace penstock
