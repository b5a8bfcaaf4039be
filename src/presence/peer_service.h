#pragma once

#include "presence/command_gate.h"
#include "presence/core_thread.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace grpc {
class Service;
}

namespace penstock::presence {

/// Protobuf bytes of all peers' sessions since start; operators' calls are not counted.
/// Written: gRPC's threads and the core thread. Read: any.
struct ByteCounters {
    std::atomic<std::uint64_t> received{0};
    std::atomic<std::uint64_t> sent{0};
};

/// The gRPC edge towards data servers, publishers and consumers: parses and enqueues what comes,
/// writes what the core says. A session has one read and one write in flight and an outbox with one
/// place for each kind of message, in which the newest desired state replaces an unsent older one.
class PeerService final : public Outlets {
  public:
    /// Nothing but refusals leaves while `gate` is closed. `are_callers_certified`: a data server's
    /// certificate has to bear the name it says. `core` and `gate` must outlive this.
    PeerService(CoreThread& core, const CommandGate& gate, bool are_callers_certified);
    /// All calls must have ended (the gRPC server is shut down).
    ~PeerService() override;

    /// To be registered with the server. Owns: they stay this object's.
    [[nodiscard]] std::vector<grpc::Service*> services();
    [[nodiscard]] const ByteCounters& bytes() const noexcept;

    void perform(Action action) override;
    void resume(SessionId session) override;
    void sweep(MonotonicTime now) override;

    static constexpr std::size_t kSessionsMax = 170'000;

  private:
    struct Shared;
    std::unique_ptr<Shared> shared_;
};

}  // namespace penstock::presence
