#pragma once

#include "base/net_address.h"
#include "presence/command_gate.h"
#include "presence/core_thread.h"
#include "presence/store.h"

#include <penstock/result.h>

#include <memory>

namespace penstock::presence {

/// A presence server: the core on its thread behind a gRPC server.
class PresenceService {
  public:
    /// Listens at `listen` (port 0: any free one) and serves. `state` leads or follows (recover.h).
    /// Owns: `store` and `gate` stay the caller's; they must outlive this.
    /// Errors: unavailable or system: the address cannot be listened at; one line says why.
    /// Thread: main.
    static Result<std::unique_ptr<PresenceService>> start(const Endpoint& listen,
                                                          State state,
                                                          Store& store,
                                                          const CommandGate& gate);
    /// Ends every call, then the threads.
    ~PresenceService();
    PresenceService(const PresenceService&) = delete;
    PresenceService& operator=(const PresenceService&) = delete;

    /// Has the core take what an election brought. Thread: any.
    void take(LeadershipWon event);
    void take(LeadershipLost event);

    /// Where it listens, with the port in use.
    [[nodiscard]] Endpoint listening() const noexcept;

  private:
    struct Parts;
    explicit PresenceService(std::unique_ptr<Parts> parts);
    std::unique_ptr<Parts> parts_;
};

}  // namespace penstock::presence
