#pragma once

#include "presence/command_gate.h"
#include "presence/core_thread.h"
#include "rpc/grpc_server.h"

#include <cstdint>
#include <memory>
#include <string_view>

namespace penstock::presence {

/// Protobuf bytes of all peers' sessions since start; operators' calls are not counted.
struct ByteCounters {
    std::uint64_t received = 0;
    std::uint64_t sent = 0;
};

/// The gRPC edge towards data servers, publishers and consumers: messages to events, and what the
/// core says to messages. A session's outbox has one place for each kind of message, in which the
/// newest desired state replaces an unsent older one. Thread of all: core.
class PeerService {
  public:
    /// Nothing but refusals leaves while `gate` is closed. `are_callers_certified`: a data server's
    /// certificate has to bear the name it says. `core` and `gate` must outlive this.
    PeerService(CoreThread& core, const CommandGate& gate, bool are_callers_certified);
    /// All calls must have ended (the gRPC server is gone).
    ~PeerService();
    PeerService(const PeerService&) = delete;
    PeerService& operator=(const PeerService&) = delete;

    /// The handler of a new call; nullptr: no peer calls this method, or `call` is refused.
    std::unique_ptr<control::CallHandler> open(std::string_view method, control::ServerCall& call);
    [[nodiscard]] const ByteCounters& bytes() const noexcept;

    /// Does what the core wants of a session.
    void perform(Action action);
    /// Ends calls whose peer does not take what was sent before the end. Once a second.
    void sweep(MonotonicTime now);

    static constexpr std::size_t kSessionsMax = 170'000;

  private:
    struct Shared;
    std::unique_ptr<Shared> shared_;
};

}  // namespace penstock::presence
