#include "rpc/grpc_connection.h"

#include "base/check.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <utility>

namespace penstock::control {
namespace {

constexpr std::size_t kSendBytes = 16'000;  // at once, and one frame more: a record of TLS or two
constexpr std::size_t kUnackedMax = 1'000;  // answers to pings and settings not sent yet
constexpr std::size_t kQueuedMax = 4'096;   // frames that we owe the caller
constexpr std::uint32_t kCallWindow = 512U << 10U;  // twice the longest message
constexpr std::int32_t kConnectionWindow = 4 << 20;
// A caller that opens and breaks off calls: so many at once, and a second in the long run.
constexpr std::uint64_t kResetsAtOnce = 10'000, kResetsPerSecond = 2'000;

const std::uint8_t* bytes_of(std::string_view text) noexcept {
    return reinterpret_cast<const std::uint8_t*>(text.data());
}
std::string_view text_of(const std::uint8_t* bytes, std::size_t length) noexcept {
    return {reinterpret_cast<const char*>(bytes), length};
}

const nghttp2_option& options() {
    static const nghttp2_option* const kMade = [] {
        nghttp2_option* option = nullptr;
        PENSTOCK_CHECK(nghttp2_option_new(&option) == 0);
        nghttp2_option_set_no_closed_streams(option, 1);
        nghttp2_option_set_no_auto_window_update(option, 1);  // see Call::reopen_window()
        nghttp2_option_set_max_outbound_ack(option, kUnackedMax);
        nghttp2_option_set_stream_reset_rate_limit(option, kResetsAtOnce, kResetsPerSecond);
        return option;
    }();
    return *kMade;
}

}  // namespace

const nghttp2_session_callbacks& GrpcServer::Connection::callbacks() {
    static const nghttp2_session_callbacks* const kMade = [] {
        nghttp2_session_callbacks* all = nullptr;
        PENSTOCK_CHECK(nghttp2_session_callbacks_new(&all) == 0);
        nghttp2_session_callbacks_set_on_begin_headers_callback(all, on_begin_headers);
        nghttp2_session_callbacks_set_on_header_callback(all, on_header);
        nghttp2_session_callbacks_set_on_frame_recv_callback(all, on_frame);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(all, on_data);
        nghttp2_session_callbacks_set_on_frame_send_callback(all, on_sent);
        nghttp2_session_callbacks_set_on_stream_close_callback(all, on_close);
        return all;
    }();
    return *kMade;
}

GrpcServer::Connection::Connection(GrpcServer& server,
                                   UniqueFd socket,
                                   std::optional<TlsStream> tls)
    : server_(server),
      socket_(std::move(socket)),
      tls_(std::move(tls)),
      opened_at_(monotonic_now()),
      heard_at_(opened_at_) {
    const int now = 1;
    ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &now, sizeof(now));
    open_session();
}

GrpcServer::Connection::~Connection() { PENSTOCK_CHECK(calls_.empty() && !socket_); }

bool GrpcServer::Connection::begin() {
    epoll_event event{.events = EPOLLIN, .data = {.ptr = this}};
    watched_ = EPOLLIN;
    return ::epoll_ctl(server_.epoll_.get(), EPOLL_CTL_ADD, socket_.get(), &event) == 0;
}

void GrpcServer::Connection::open_session() {
    nghttp2_session* session = nullptr;
    PENSTOCK_CHECK(nghttp2_session_server_new2(&session, &callbacks(), this, &options()) == 0);
    session_.reset(session);
    static constexpr std::array<nghttp2_settings_entry, 3> kSettings{{
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, kCallsOfAConnectionMax},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kCallWindow},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kHeaderBytesMax},
    }};
    PENSTOCK_CHECK(nghttp2_submit_settings(
                       session, NGHTTP2_FLAG_NONE, kSettings.data(), kSettings.size()) == 0);
    PENSTOCK_CHECK(nghttp2_session_set_local_window_size(
                       session, NGHTTP2_FLAG_NONE, 0, kConnectionWindow) == 0);
    want_send();
}

void GrpcServer::Connection::want_send() {
    if (!std::exchange(is_listed, true)) {
        server_.unsent_.push_back(this);
    }
}

bool GrpcServer::Connection::receive() {
    std::string& received = server_.received_;
    const ssize_t count = ::recv(socket_.get(), received.data(), received.size(), MSG_DONTWAIT);
    if (count <= 0) {
        return count < 0 && (errno == EAGAIN || errno == EINTR);
    }
    heard_at_ = monotonic_now();
    pinged_at_.reset();
    const std::string_view bytes(received.data(), static_cast<std::size_t>(count));
    if (!tls_) {
        return take(bytes);
    }
    std::string& plain = server_.plain_;
    std::string& answer = server_.to_network_;
    plain.clear();
    answer.clear();
    const bool goes_on = tls_->receive(bytes, plain, answer);
    return transmit(answer) && take(plain) && goes_on;
}

bool GrpcServer::Connection::take(std::string_view plain) {
    const bool is_good =
        plain.empty() ||
        (nghttp2_session_mem_recv(session_.get(), bytes_of(plain), plain.size()) >= 0 &&
         nghttp2_session_get_outbound_queue_size(session_.get()) <= kQueuedMax);
    want_send();
    return is_good || (send() && false);  // why it is over leaves, if it can
}

bool GrpcServer::Connection::collect(std::string& plain) {
    plain.clear();
    while (plain.size() < kSendBytes) {
        const std::uint8_t* bytes = nullptr;
        const ssize_t count = nghttp2_session_mem_send(session_.get(), &bytes);
        if (count <= 0) {
            return count == 0;
        }
        plain.append(text_of(bytes, static_cast<std::size_t>(count)));
    }
    return true;
}

bool GrpcServer::Connection::send() {
    if (!unsent_.empty() && (!server_.may_send_() || !transmit({}))) {
        return false;
    }
    if (tls_ && !tls_->is_agreed()) {
        return true;
    }
    std::string& plain = server_.plain_;
    std::string& records = server_.to_network_;
    while (unsent_.empty()) {
        if (!collect(plain)) {
            return false;
        }
        if (plain.empty()) {
            break;
        }
        records.clear();
        if ((tls_ && !tls_->send(plain, records)) || !transmit(tls_ ? records : plain)) {
            return false;
        }
    }
    return nghttp2_session_want_read(session_.get()) != 0 ||
           nghttp2_session_want_write(session_.get()) != 0;
}

/// What is not taken is kept and goes first the next time.
bool GrpcServer::Connection::transmit(std::string_view bytes) {
    const bool was_empty = unsent_.empty();
    if (!was_empty) {
        unsent_.append(bytes);
        bytes = unsent_;
    }
    std::size_t sent = 0;
    while (sent < bytes.size()) {
        const ssize_t count = ::send(
            socket_.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count < 0 && errno != EAGAIN && errno != EINTR) {
            return false;
        }
        if (count < 0 && errno == EAGAIN) {
            break;
        }
        sent += count < 0 ? 0 : static_cast<std::size_t>(count);
    }
    if (sent > 0 || was_empty) {
        unsent_since_ = monotonic_now();
    }
    std::string rest(bytes.substr(sent));
    unsent_ = std::move(rest);
    watch();
    return true;
}

/// Who does not take what we say is not listened to, so that no more is to be said.
void GrpcServer::Connection::watch() {
    const std::uint32_t wanted = unsent_.empty() ? EPOLLIN : EPOLLOUT;
    if (socket_ && wanted != std::exchange(watched_, wanted)) {
        epoll_event event{.events = wanted, .data = {.ptr = this}};
        PENSTOCK_CHECK(::epoll_ctl(server_.epoll_.get(), EPOLL_CTL_MOD, socket_.get(), &event) ==
                       0);
    }
}

bool GrpcServer::Connection::look(MonotonicTime now) {
    if (!has_spoken_ && now >= opened_at_ + kHandshakeMost) {
        return false;
    }
    if (!unsent_.empty() && now >= unsent_since_ + kUnsentMost) {
        return false;
    }
    if (pinged_at_) {
        return now < *pinged_at_ + kPingMost;
    }
    if (now >= heard_at_ + kQuietMost && has_spoken_) {
        pinged_at_ = now;
        nghttp2_submit_ping(session_.get(), NGHTTP2_FLAG_NONE, nullptr);
        want_send();
    }
    return true;
}

void GrpcServer::Connection::close() {
    for (CallOf calls = std::exchange(calls_, {}); const auto& [stream, call] : calls) {
        call->close();
    }
    socket_.reset();  // epoll forgets it
}

GrpcServer::Call* GrpcServer::Connection::find(std::int32_t stream) const {
    return static_cast<Call*>(nghttp2_session_get_stream_user_data(session_.get(), stream));
}

int GrpcServer::Connection::on_begin_headers(nghttp2_session* session,
                                             const nghttp2_frame* frame,
                                             void* self) {
    auto& connection = *static_cast<Connection*>(self);
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        const std::int32_t stream = frame->hd.stream_id;
        auto call = std::make_unique<Call>(connection, stream);
        nghttp2_session_set_stream_user_data(session, stream, call.get());
        connection.calls_.emplace(stream, std::move(call));
    }
    return 0;
}

int GrpcServer::Connection::on_header(nghttp2_session* /*session*/,
                                      const nghttp2_frame* frame,
                                      const std::uint8_t* name,
                                      std::size_t name_length,
                                      const std::uint8_t* value,
                                      std::size_t value_length,
                                      std::uint8_t /*flags*/,
                                      void* self) {
    Call* const call = static_cast<Connection*>(self)->find(frame->hd.stream_id);
    const bool is_taken = call == nullptr || call->add_header(text_of(name, name_length),
                                                              text_of(value, value_length));
    return is_taken ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;  // the stream is reset
}

int GrpcServer::Connection::on_frame(nghttp2_session* /*session*/,
                                     const nghttp2_frame* frame,
                                     void* self) {
    auto& connection = *static_cast<Connection*>(self);
    connection.has_spoken_ = connection.has_spoken_ || frame->hd.type == NGHTTP2_SETTINGS;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) {
        return 0;
    }
    Call* const call = connection.find(frame->hd.stream_id);
    if (call == nullptr) {
        return 0;
    }
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        call->open();
    }
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        call->end_of_messages();
    }
    return 0;
}

int GrpcServer::Connection::on_data(nghttp2_session* /*session*/,
                                    std::uint8_t /*flags*/,
                                    std::int32_t stream,
                                    const std::uint8_t* bytes,
                                    std::size_t length,
                                    void* self) {
    if (Call* const call = static_cast<Connection*>(self)->find(stream)) {
        call->receive(text_of(bytes, length));
    }
    return 0;
}

int GrpcServer::Connection::on_sent(nghttp2_session* session,
                                    const nghttp2_frame* frame,
                                    void* self) {
    if (frame->hd.type == NGHTTP2_HEADERS && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        const Call* const call = static_cast<Connection*>(self)->find(frame->hd.stream_id);
        if (call != nullptr && call->is_open_at_caller()) {
            nghttp2_submit_rst_stream(
                session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
        }
    }
    return 0;
}

int GrpcServer::Connection::on_close(nghttp2_session* /*session*/,
                                     std::int32_t stream,
                                     std::uint32_t /*error*/,
                                     void* self) {
    if (auto found = static_cast<Connection*>(self)->calls_.extract(stream)) {
        found.mapped()->close();
    }
    return 0;
}

}  // namespace penstock::control
