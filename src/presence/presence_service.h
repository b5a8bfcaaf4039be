#pragma once

#include "base/net_address.h"
#include "presence/core_thread.h"

#include <penstock/result.h>

#include <memory>

namespace penstock::presence {

/// A presence server: the core on its thread behind a gRPC server.
class PresenceService {
  public:
    /// Listens at `listen` (port 0: any free one) and serves. `state` is a fresh one; its epoch,
    /// keys, random source and start time are the caller's.
    /// Errors: unavailable or system: the address cannot be listened at; one line says why.
    /// Thread: main.
    static Result<std::unique_ptr<PresenceService>> start(const Endpoint& listen, State state);
    /// Ends every call, then the threads.
    ~PresenceService();
    PresenceService(const PresenceService&) = delete;
    PresenceService& operator=(const PresenceService&) = delete;

    /// Where it listens, with the port in use.
    [[nodiscard]] Endpoint listening() const noexcept;

  private:
    struct Parts;
    explicit PresenceService(std::unique_ptr<Parts> parts);
    std::unique_ptr<Parts> parts_;
};

}  // namespace penstock::presence
