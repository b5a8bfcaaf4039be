#pragma once

#include "base/clock.h"
#include "base/net_address.h"
#include "base/unique_fd.h"
#include "rpc/tls_renewal.h"

#include <penstock/result.h>
#include <penstock/tls.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace grpc {
class Status;
}

namespace penstock::control {

/// A call in progress, as who handles it sees it. Valid until CallHandler::closed(). None of these
/// calls the handler back. Thread of all: the server's.
class ServerCall {
  public:
    virtual ~ServerCall() = default;
    /// There may be something to give.
    virtual void wake() = 0;
    /// Ends the call with `status` once there is nothing more to give.
    virtual void finish(const grpc::Status& status) = 0;
    /// Breaks the call off, whatever was not sent yet.
    virtual void cancel() = 0;
    /// Takes no message of the call for so long. What the caller goes on sending waits here until
    /// the call's window is full, and then at the caller.
    virtual void pause(std::chrono::nanoseconds duration) = 0;
    /// URIs in the certificate that the caller showed.
    [[nodiscard]] virtual std::vector<std::string> peer_uris() const = 0;
};

/// What is done with one call. Thread of all: the server's.
class CallHandler {
  public:
    virtual ~CallHandler() = default;
    /// A whole message of the caller, valid during this call.
    virtual void take(std::string_view message) = 0;
    /// The caller sends no more messages.
    virtual void end_of_messages() = 0;
    /// Asked when the connection takes more, after a wake(). Appends the next message to `out`.
    /// Returns: false if there is none.
    virtual bool give(std::string& out) = 0;
    /// The call is over, however it ended. The last of all; this is deleted then.
    virtual void closed() = 0;
};

/// Makes the handler of a new call of "/package.Service/Method"; nullptr: there is no such method,
/// or the call was finished already.
using OpenCall =
    std::function<std::unique_ptr<CallHandler>(std::string_view method, ServerCall& call)>;

/// A gRPC server on one thread, which runs whatever its callers want to its end: bytes → TLS
/// (OpenSSL) → HTTP/2 (nghttp2) → messages → handlers, and back. Nothing is compressed.
/// Source: gRPC over HTTP2; RFC 9113.
class GrpcServer {
  public:
    static constexpr std::size_t kConnectionsMax = 200'000;        // or fewer: see listen()
    static constexpr std::uint32_t kCallsOfAConnectionMax = 1024;  // more wait at the caller
    static constexpr std::size_t kHeaderBytesMax = 8192;           // of one call
    // What is not done in this time ends a connection: TLS and its first frame; an answer to our
    // ping, which goes out after kQuietMost without a byte; the peer's taking what we send.
    static constexpr std::chrono::seconds kHandshakeMost{5};
    static constexpr std::chrono::seconds kQuietMost{5};
    static constexpr std::chrono::seconds kPingMost{3};
    static constexpr std::chrono::seconds kUnsentMost{8};

    /// Listens at `address` (port 0: any free one), by TLS if `tls` names files. No message longer
    /// than `message_bytes_max` is taken. When `may_send` says no, nothing leaves of what was begun
    /// before: such connections and calls are ended. Of the files that the process may open now, 64
    /// are left to others; who calls beyond that is hung up on.
    /// Errors: unavailable: the address cannot be listened at; else as check_tls(). One line.
    static Result<std::unique_ptr<GrpcServer>> listen(const Endpoint& address,
                                                      const TlsFiles& tls,
                                                      std::size_t message_bytes_max,
                                                      OpenCall open_call,
                                                      std::function<bool()> may_send);
    /// Ends every connection; every handler is closed.
    ~GrpcServer();
    GrpcServer(const GrpcServer&) = delete;
    GrpcServer& operator=(const GrpcServer&) = delete;

    /// Takes what has come, or waits for it until `until` or a wake(), and sends what there is to
    /// send. All that waits is taken, a portion of each connection after the other, but for not
    /// much longer than kTurnMost. Thread: the server's.
    void poll(MonotonicTime until);
    /// Ends the wait of poll(), now or the next time. Thread: any.
    void wake() const noexcept;
    /// Where it listens, with the port in use.
    [[nodiscard]] const Endpoint& listening() const noexcept { return listening_; }

    static constexpr std::chrono::milliseconds kTurnMost{100};

  private:
    class Connection;
    class Call;

    GrpcServer(Endpoint listening,
               UniqueFd listener,
               std::unique_ptr<TlsRenewal> tls,
               std::size_t message_bytes_max,
               OpenCall open_call,
               std::function<bool()> may_send);
    void accept_all();
    void accept_one(UniqueFd socket);
    void watch_listener(bool is_accepting);
    /// Returns: how many descriptors were ready.
    int take_ready(int patience_ms);
    void send_all();
    void look_after(MonotonicTime now);
    void resume_paused(MonotonicTime now);
    void drop(Connection& connection);
    [[nodiscard]] int milliseconds_until(MonotonicTime until) const;

    const Endpoint listening_;
    UniqueFd listener_;
    const std::unique_ptr<TlsRenewal> tls_;
    const std::size_t message_bytes_max_;
    const OpenCall open_call_;
    const std::function<bool()> may_send_;
    const std::size_t connections_max_;
    UniqueFd epoll_;
    UniqueFd wake_;
    bool is_accepting_ = true;  // else there are no more files, and callers wait
    std::vector<std::unique_ptr<Connection>> connections_;
    std::vector<Connection*> unsent_;  // with something to send
    std::vector<Call*> paused_;
    std::vector<std::unique_ptr<Connection>> dropped_;  // until nobody refers to them
    MonotonicTime look_at_;
    // Scratch, emptied by whoever uses it.
    std::string received_, plain_, to_network_;
};

}  // namespace penstock::control
