#pragma once

#include "rpc/grpc_server.h"
#include "rpc/message_reader.h"
#include "rpc/tls_stream.h"

#include <grpcpp/support/status.h>

#include <cstdint>
#include <memory>
#include <nghttp2/nghttp2.h>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

/// What GrpcServer is made of; included by its own sources only.
namespace penstock::control {

/// One caller's connection: its bytes, its TLS session, its calls. `false` of a function: it is
/// over and is to be dropped.
class GrpcServer::Connection {
  public:
    Connection(GrpcServer& server, UniqueFd socket, std::optional<TlsStream> tls);
    /// close() must have been called.
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// Has the server told of what comes.
    bool begin();
    /// Reads a portion of what has come, and has it done.
    bool receive();
    /// Sends what there is, until the network takes no more.
    bool send();
    /// Whether it is still good, looked at once a second; pings a quiet one.
    bool look(MonotonicTime now);
    /// Closes every handler and the socket.
    void close();

    [[nodiscard]] int socket() const noexcept { return socket_.get(); }

    std::size_t place = 0;   // in GrpcServer::connections_
    bool is_listed = false;  // in GrpcServer::unsent_

  private:
    friend class GrpcServer::Call;
    struct SessionFree {
        void operator()(nghttp2_session* session) const noexcept { nghttp2_session_del(session); }
    };
    using CallOf = std::unordered_map<std::int32_t, std::unique_ptr<Call>>;

    void open_session();
    void want_send();
    bool take(std::string_view plain);
    /// Frames for one send, about kSendBytes. Empty: there is nothing.
    bool collect(std::string& plain);
    bool transmit(std::string_view bytes);
    void watch();
    [[nodiscard]] Call* find(std::int32_t stream) const;

    static int on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* self);
    static int on_header(nghttp2_session*,
                         const nghttp2_frame* frame,
                         const std::uint8_t* name,
                         std::size_t name_length,
                         const std::uint8_t* value,
                         std::size_t value_length,
                         std::uint8_t flags,
                         void* self);
    static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* self);
    static int on_data(nghttp2_session*,
                       std::uint8_t flags,
                       std::int32_t stream,
                       const std::uint8_t* bytes,
                       std::size_t length,
                       void* self);
    static int on_sent(nghttp2_session*, const nghttp2_frame* frame, void* self);
    static int on_close(nghttp2_session*, std::int32_t stream, std::uint32_t error, void* self);
    static const nghttp2_session_callbacks& callbacks();

    GrpcServer& server_;
    UniqueFd socket_;
    std::optional<TlsStream> tls_;
    std::unique_ptr<nghttp2_session, SessionFree> session_;
    CallOf calls_;
    std::string unsent_;  // bytes that the network did not take
    std::uint32_t watched_ = 0;
    bool has_spoken_ = false;  // HTTP/2: its settings have come
    MonotonicTime opened_at_;
    MonotonicTime heard_at_;
    std::optional<MonotonicTime> pinged_at_;
    MonotonicTime unsent_since_;
};

/// One call: an HTTP/2 stream.
class GrpcServer::Call final : public ServerCall {
  public:
    Call(Connection& connection, std::int32_t stream);

    void wake() override;
    void finish(const grpc::Status& status) override;
    void cancel() override;
    void pause(std::chrono::nanoseconds duration) override;
    [[nodiscard]] std::vector<std::string> peer_uris() const override;

    /// Returns: false: there are too many of them.
    bool add_header(std::string_view name, std::string_view value);
    /// All headers have come.
    void open();
    void receive(std::string_view bytes);
    void end_of_messages();
    /// Goes on after a pause.
    void go_on();
    void close();
    [[nodiscard]] MonotonicTime paused_until() const noexcept { return paused_until_; }
    /// The caller has not ended its messages yet.
    [[nodiscard]] bool is_open_at_caller() const noexcept { return !has_ended_; }

  private:
    static ssize_t on_fill(nghttp2_session*,
                           std::int32_t stream,
                           std::uint8_t* bytes,
                           std::size_t most,
                           std::uint32_t* flags,
                           nghttp2_data_source* source,
                           void*);
    std::size_t fill(std::uint8_t* bytes, std::size_t most);
    /// What the caller may send again: so much is not kept here any more.
    void reopen_window(std::size_t bytes);
    void submit_trailers();
    void take_messages();
    /// Ends the call now: what was to be given is not.
    void fail(grpc::StatusCode code, const std::string& message);

    Connection& connection_;
    const std::int32_t stream_;
    std::string method_;
    std::size_t header_bytes_ = 0;
    bool is_post_ = false;
    bool is_grpc_ = false;
    std::unique_ptr<CallHandler> handler_;
    MessageReader reader_;
    std::string sending_;                   // a message, of which
    std::size_t given_ = 0;                 // so much has left
    std::unique_ptr<grpc::Status> status_;  // once it is to end
    bool has_begun_ = false;                // headers of the response are on their way
    bool is_waiting_ = false;               // for a wake(): nothing to give
    bool is_failed_ = false;                // nothing is taken or given any more
    bool has_ended_ = false;                // the caller sends nothing more
    bool is_end_told_ = false;
    MonotonicTime paused_until_ = MonotonicTime::min();  // min: it is not
};

}  // namespace penstock::control
