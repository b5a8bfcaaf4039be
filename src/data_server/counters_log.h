#pragma once

#include "data_server/session_events.h"

#include <cstdint>

namespace penstock {

struct Machine;
class Workers;

/// The counters of this process as log lines: drops and session messages by name (those that are
/// not 0), packets of each port and TAP, the packet pool. Thread: main.
class CountersLog {
  public:
    CountersLog(const Machine& machine, const Workers& workers, const SessionCounters& sessions)
        : machine_(machine), workers_(workers), sessions_(sessions) {}

    /// Everything, now.
    void write() const;
    /// What went wrong, if more did since the last call: to be called every few seconds.
    void write_trouble();

  private:
    [[nodiscard]] std::uint64_t troubles() const;
    void write_drops() const;
    void write_sessions() const;
    void write_ports() const;
    void write_pool() const;

    const Machine& machine_;
    const Workers& workers_;
    const SessionCounters& sessions_;
    std::uint64_t told_ = 0;
    std::uint64_t pool_told_ = 0;
};

}  // namespace penstock
