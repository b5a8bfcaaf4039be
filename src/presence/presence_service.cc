#include "presence/presence_service.h"

#include "presence/operator_service.h"
#include "presence/peer_service.h"
#include "rpc/grpc_server.h"
#include "rpc/messages.h"

#include <string_view>
#include <utility>

namespace penstock::presence {

struct PresenceService::Parts final : Outlets {
    Parts(State state, const CommandGate& gate, bool are_callers_certified)
        : core(std::move(state)),
          peers(core, gate, are_callers_certified),
          operators(core, peers.bytes()) {}

    ~Parts() override { core.stop(); }
    Parts(const Parts&) = delete;
    Parts& operator=(const Parts&) = delete;

    void perform(Action action) override { peers.perform(std::move(action)); }
    void sweep(MonotonicTime now) override {
        peers.sweep(now);
        operators.sweep(now);
    }

    CoreThread core;
    PeerService peers;
    OperatorService operators;
    std::unique_ptr<control::GrpcServer> server;
};

Result<std::unique_ptr<PresenceService>> PresenceService::start(const Endpoint& listen,
                                                                const TlsFiles& tls,
                                                                State state,
                                                                Store& store,
                                                                const CommandGate& gate) {
    auto parts = std::make_unique<Parts>(std::move(state), gate, !tls.authority.empty());
    auto server = control::GrpcServer::listen(
        listen,
        tls,
        control::kMessageBytesMax,
        [&parts = *parts](std::string_view method, control::ServerCall& call) {
            auto of_peer = parts.peers.open(method, call);
            return of_peer != nullptr ? std::move(of_peer) : parts.operators.open(method, call);
        },
        [&gate] { return gate.is_open(BootClock::now()); });
    if (!server) {
        return std::move(server).error();
    }
    parts->server = std::move(server).value();
    parts->core.start(*parts->server, *parts, store);
    return std::unique_ptr<PresenceService>(new PresenceService(std::move(parts)));
}

PresenceService::PresenceService(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

PresenceService::~PresenceService() = default;

void PresenceService::take(LeadershipWon event) { parts_->core.post(std::move(event)); }

void PresenceService::take(LeadershipLost event) { parts_->core.post(std::move(event)); }

Endpoint PresenceService::listening() const noexcept { return parts_->server->listening(); }

}  // namespace penstock::presence
