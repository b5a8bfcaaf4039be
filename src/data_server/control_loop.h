#pragma once

#include "base/unique_fd.h"
#include "data_server/counters_log.h"
#include "data_server/data_server.h"
#include "data_server/machine.h"
#include "data_server/presence_session.h"
#include "data_server/watchdog.h"
#include "data_server/workers.h"

#include <penstock/result.h>

#include <chrono>
#include <cstdint>
#include <memory>

namespace penstock {

/// The control thread: one epoll loop over the TAPs, neighbours, signals and presence, and a look
/// at the workers' rings every millisecond, or as often as possible while there is something in
/// them. Thread: main.
class ControlLoop {
  public:
    /// All outlive this. SIGTERM, SIGINT, SIGHUP and SIGUSR1 must be blocked in every thread.
    /// Errors: system.
    static Result<std::unique_ptr<ControlLoop>> create(Machine& machine,
                                                       Workers& workers,
                                                       DataServer& server,
                                                       PresenceSession& presence);

    /// Until SIGTERM, SIGINT or SIGHUP. SIGUSR1 writes all counters to the log. A worker that hangs
    /// goes unfed to the watchdog.
    void run();
    /// Lets what clients are to be told leave: until it has or `most` has passed.
    void flush(std::chrono::milliseconds most);

  private:
    ControlLoop(Machine& machine, Workers& workers, DataServer& server, PresenceSession& presence)
        : machine_(machine),
          workers_(workers),
          server_(server),
          presence_(presence),
          counters_(machine, workers, server.session_counters()) {}

    Result<void> watch_everything();
    Result<void> watch(int fd, std::uint64_t what);
    bool wait_and_serve(int timeout_ms);
    void serve(std::uint64_t what);
    void serve_signals();
    void serve_tap(std::size_t port);
    bool look_at_rings();
    bool take_session_messages(std::size_t worker);
    bool take_exceptions(std::size_t worker);
    bool outgoing_is_empty() const;

    Machine& machine_;
    Workers& workers_;
    DataServer& server_;
    PresenceSession& presence_;
    CountersLog counters_;
    Watchdog watchdog_;
    UniqueFd epoll_;
    UniqueFd signals_;
    bool stopping_ = false;
    std::uint64_t trouble_at_ms_ = 0;
};

/// Sends a session message as a frame, by a worker's outgoing ring. Returns: false if there is no
/// packet or no room for it. Thread: main.
bool send_session_frame(const Machine& machine,
                        const Workers& workers,
                        const SessionReply& reply,
                        std::uint8_t worker);

}  // namespace penstock
