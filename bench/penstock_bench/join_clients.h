#pragma once

#include "base/net_address.h"
#include "penstock_bench/histogram.h"

#include <penstock/result.h>
#include <penstock/tls.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace penstock::bench {

struct JoinPlan {
    std::vector<std::string> presence;  // HOST:PORT
    TlsFiles tls;                       // {}: plaintext
    bool insecure = false;
    std::vector<IpAddress> sources;  // that joins come from, in turn
    std::uint64_t clients = 16;
};

/// What a stretch of time brought.
struct JoinCounts {
    double seconds = 0;
    std::uint64_t done = 0;
    std::uint64_t unanswered = 0;  // messages that had to be sent again
    Histogram nanoseconds;         // each one took
};

/// Clients of one stream, whose publisher is here, too: each has a session with presence and a
/// socket on the data network. Closed loops: every client asks again when it has its answer.
/// Thread: one at a time.
class JoinClients {
  public:
    /// Opens the stream and the sessions and waits until each client knows where to join.
    /// Errors: invalid_argument, system, timed_out.
    static Result<std::unique_ptr<JoinClients>> open(const JoinPlan& plan);
    virtual ~JoinClients() = default;
    JoinClients(const JoinClients&) = delete;
    JoinClients& operator=(const JoinClients&) = delete;

    /// Requests for a fresh ticket, answered by presence.
    virtual JoinCounts request(std::chrono::nanoseconds duration) = 0;
    /// Joins at the data server, each the whole handshake and a LEAVE behind it.
    virtual JoinCounts join(std::chrono::nanoseconds duration) = 0;

  protected:
    JoinClients() = default;
};

}  // namespace penstock::bench
