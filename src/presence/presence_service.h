#pragma once

#include "base/net_address.h"
#include "presence/command_gate.h"
#include "presence/core_thread.h"
#include "presence/store.h"

#include <penstock/result.h>
#include <penstock/tls.h>

#include <memory>

namespace penstock::presence {

/// A presence server: the core on its thread behind a gRPC server.
class PresenceService {
  public:
    /// Listens at `listen` (port 0: any free one) and serves, by TLS if `tls` names files: with an
    /// authority, every caller needs a certificate of it. `state` leads or follows (recover.h).
    /// Owns: `store` and `gate` stay the caller's; they must outlive this.
    /// Errors: unavailable or system: the address cannot be listened at; invalid_argument: the
    /// files are no good. One line says why.
    /// Thread: main.
    static Result<std::unique_ptr<PresenceService>> start(const Endpoint& listen,
                                                          const TlsFiles& tls,
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
