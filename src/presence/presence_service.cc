#include "presence/presence_service.h"

#include "base/unique_fd.h"
#include "presence/operator_service.h"
#include "presence/peer_service.h"
#include "rpc/messages.h"
#include "rpc/tls.h"

#include <fmt/format.h>
#include <grpc/support/log.h>
#include <grpcpp/grpcpp.h>

#include <absl/synchronization/mutex.h>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <netinet/in.h>
#include <sys/socket.h>
#include <system_error>
#include <utility>

namespace penstock::presence {
namespace {

constexpr std::chrono::milliseconds kShutdownPatience{200};

/// gRPC says only that it could not listen: what the system answers to the same wish.
std::string why_not(const Endpoint& listen) {
    sockaddr_in6 v6{};
    sockaddr_in v4{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(listen.port);
    std::copy(listen.ip.bytes.begin(), listen.ip.bytes.end(), v6.sin6_addr.s6_addr);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(listen.port);
    const bool is_v4 = listen.ip.is_v4();
    if (is_v4) {
        v4.sin_addr.s_addr = htonl(listen.ip.v4());
    }
    const UniqueFd socket(::socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int reuse = 1;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse));
    const auto* address =
        is_v4 ? reinterpret_cast<const sockaddr*>(&v4) : reinterpret_cast<const sockaddr*>(&v6);
    const socklen_t bytes = is_v4 ? sizeof(v4) : sizeof(v6);
    if (::bind(socket.get(), address, bytes) == 0 && ::listen(socket.get(), 1) == 0) {
        return "gRPC refused it";
    }
    return std::generic_category().message(errno);
}

void silence(gpr_log_func_args*) {}

void set_limits(grpc::ServerBuilder& builder) {
    builder.SetMaxReceiveMessageSize(control::kMessageBytesMax);
    // A busy port is an error, not something to share with a second presence.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    // Sessions of one process share a connection; a call beyond this number waits at the client.
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 1024);
    builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 8192);
    builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 5000);
    // What comes is small: windows need not grow, so nobody is pinged to find out how far.
    builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    // Liveness is the heartbeats'; these end connections whose host is gone.
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 5000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 3000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 500);
}

}  // namespace

struct PresenceService::Parts {
    Parts(State state, const CommandGate& gate, bool are_callers_certified)
        : core(std::move(state)),
          peers(core, gate, are_callers_certified),
          operators(core, peers.bytes()) {}

    ~Parts() {
        // Calls end by SessionClosed and answers that the core thread still has to give.
        if (server != nullptr) {
            server->Shutdown(std::chrono::system_clock::now() + kShutdownPatience);
            server->Wait();
        }
        core.stop();
    }
    Parts(const Parts&) = delete;
    Parts& operator=(const Parts&) = delete;

    CoreThread core;
    PeerService peers;
    OperatorService operators;
    std::unique_ptr<grpc::Server> server;
    Endpoint listening;
};

Result<std::unique_ptr<PresenceService>> PresenceService::start(const Endpoint& listen,
                                                                const TlsFiles& tls,
                                                                State state,
                                                                Store& store,
                                                                const CommandGate& gate) {
    // Errors are ours to say, in one line.
    gpr_set_log_function(silence);
    // gRPC's mutexes: Debian builds them to look for deadlocks at every lock.
    absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
    auto credentials = control::server_credentials(tls);
    if (!credentials) {
        return std::move(credentials).error();
    }
    auto parts = std::make_unique<Parts>(std::move(state), gate, !tls.authority.empty());
    grpc::ServerBuilder builder;
    set_limits(builder);
    int port = 0;
    builder.AddListeningPort(to_string(listen), *credentials, &port);
    for (grpc::Service* service : parts->peers.services()) {
        builder.RegisterService(service);
    }
    builder.RegisterService(parts->operators.service());
    parts->core.start(parts->peers, store);
    parts->server = builder.BuildAndStart();
    if (parts->server == nullptr || port == 0) {
        return Error{ErrorCode::unavailable,
                     fmt::format("cannot listen at {}: {}; choose another --listen",
                                 to_string(listen),
                                 why_not(listen))};
    }
    parts->listening = {listen.ip, static_cast<std::uint16_t>(port)};
    return std::unique_ptr<PresenceService>(new PresenceService(std::move(parts)));
}

PresenceService::PresenceService(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

PresenceService::~PresenceService() = default;

void PresenceService::take(LeadershipWon event) { parts_->core.post(std::move(event)); }

void PresenceService::take(LeadershipLost event) { parts_->core.post(std::move(event)); }

Endpoint PresenceService::listening() const noexcept { return parts_->listening; }

}  // namespace penstock::presence
