#include "presence_load/network.h"

#include "base/check.h"
#include "base/socket_address.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <span>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <utility>

namespace penstock::bench {
namespace {

constexpr std::size_t kSendBytes = 16'000;  // what one record of TLS holds
constexpr std::int32_t kWindow = 16 << 20;

std::string_view text_of(const std::uint8_t* bytes, std::size_t length) {
    return {reinterpret_cast<const char*>(bytes), length};
}

nghttp2_nv header(std::string_view name, std::string_view value) {
    const auto bytes = [](std::string_view text) {
        // NOLINTNEXTLINE(*-const-cast): nghttp2 does not write to it
        return const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(text.data()));
    };
    return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

}  // namespace

void Call::open(const std::shared_ptr<Connection>& connection, const std::string& method) {
    connection_ = connection;
    connection->open(*this, method);
}

void Call::wake() {
    if (stream_ >= 0 && std::exchange(is_waiting_, false)) {
        nghttp2_session_resume_data(connection_->session_.get(), stream_);
        connection_->want_send();
    }
}

void Call::end() {
    is_ending_ = true;
    wake();
}

UniqueFd Network::make_epoll() { return UniqueFd(::epoll_create1(EPOLL_CLOEXEC)); }

void Network::poll(MonotonicTime until) {
    send_all();
    std::array<epoll_event, 256> events;  // NOLINT(*-member-init): filled by the system
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - monotonic_now());
    const int count =
        ::epoll_wait(epoll_.get(),
                     events.data(),
                     events.size(),
                     static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 100)));
    for (const epoll_event& event :
         std::span(events).first(static_cast<std::size_t>(std::max(count, 0)))) {
        auto& connection = *static_cast<Connection*>(event.data.ptr);
        if (!connection.is_connected_) {
            connection.is_connected_ = true;
            connection.transmit({});
        }
        if ((event.events & EPOLLIN) != 0) {
            connection.receive();
        }
        connection.want_send();
    }
    send_all();
}

void Network::send_all() {
    while (!unsent_.empty()) {
        for (Connection* const connection : std::exchange(unsent_, {})) {
            connection->is_listed_ = false;
            connection->send();
        }
    }
}

Connection::Connection(Network& network, const Endpoint& presence, const control::TlsContext* tls)
    : network_(network),
      socket_(
          ::socket(address_family(presence.ip), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    const SocketAddress address = to_socket_address(presence);
    const int now = 1;
    ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &now, sizeof(now));
    static_cast<void>(::connect(socket_.get(), address.get(), address.length));
    epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLET, .data = {.ptr = this}};
    PENSTOCK_CHECK(::epoll_ctl(network_.epoll_.get(), EPOLL_CTL_ADD, socket_.get(), &event) == 0);

    nghttp2_session_callbacks* callbacks = nullptr;
    PENSTOCK_CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session* session = nullptr;
    PENSTOCK_CHECK(nghttp2_session_client_new(&session, callbacks, this) == 0);
    nghttp2_session_callbacks_del(callbacks);
    session_.reset(session);
    const nghttp2_settings_entry window{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kWindow};
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, &window, 1);
    nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, kWindow);
    if (tls != nullptr) {
        tls_.emplace(control::TlsStream::call(*tls));
        network_.to_network_.clear();
        tls_->receive({}, network_.plain_, network_.to_network_);
        unsent_ = network_.to_network_;
    }
    want_send();
}

Connection::~Connection() { std::erase(network_.unsent_, this); }

void Connection::open(Call& call, const std::string& method) {
    const std::array<nghttp2_nv, 6> headers{header(":method", "POST"),
                                            header(":scheme", tls_ ? "https" : "http"),
                                            header(":path", method),
                                            header(":authority", "presence"),
                                            header("te", "trailers"),
                                            header("content-type", "application/grpc")};
    const nghttp2_data_provider provider{{.ptr = &call}, on_fill};
    call.stream_ = nghttp2_submit_request(
        session_.get(), nullptr, headers.data(), headers.size(), &provider, &call);
    PENSTOCK_CHECK(call.stream_ > 0);
    calls_.emplace(call.stream_, &call);
    want_send();
}

void Connection::want_send() {
    if (!std::exchange(is_listed_, true)) {
        network_.unsent_.push_back(this);
    }
}

/// All that has come: epoll says it once.
void Connection::receive() {
    for (;;) {
        std::string& received = network_.received_;
        const ssize_t count = ::recv(socket_.get(), received.data(), received.size(), 0);
        if (count <= 0) {
            if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
                break_off();
            }
            return;
        }
        std::string_view bytes(received.data(), static_cast<std::size_t>(count));
        if (tls_) {
            network_.plain_.clear();
            network_.to_network_.clear();
            const bool goes_on = tls_->receive(bytes, network_.plain_, network_.to_network_);
            transmit(network_.to_network_);
            if (!goes_on) {
                break_off();
                return;
            }
            bytes = network_.plain_;
        }
        // What is said meanwhile is sent later: nothing else uses these buffers now.
        if (nghttp2_session_mem_recv(session_.get(),
                                     reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                     bytes.size()) < 0) {
            break_off();
            return;
        }
    }
}

void Connection::send() {
    transmit({});
    while (socket_ && is_connected_ && unsent_.empty() && (!tls_ || tls_->is_agreed())) {
        std::string& plain = network_.plain_;
        plain.clear();
        const std::uint8_t* bytes = nullptr;
        ssize_t count = 0;
        while (plain.size() < kSendBytes &&
               (count = nghttp2_session_mem_send(session_.get(), &bytes)) > 0) {
            plain.append(text_of(bytes, static_cast<std::size_t>(count)));
        }
        if (plain.empty()) {
            return;
        }
        network_.to_network_.clear();
        if (tls_) {
            tls_->send(plain, network_.to_network_);
        }
        transmit(tls_ ? network_.to_network_ : plain);
    }
}

void Connection::transmit(std::string_view bytes) {
    unsent_.append(bytes);
    if (unsent_.empty() || !is_connected_) {
        return;
    }
    const ssize_t count = ::send(socket_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
    unsent_.erase(0, count > 0 ? static_cast<std::size_t>(count) : 0);
}

void Connection::break_off() {
    socket_.reset();
    for (const auto& [stream, call] : std::exchange(calls_, {})) {
        call->stream_ = -1;
        call->closed();
    }
}

/// Source: nghttp2_data_source_read_callback.
ssize_t Connection::on_fill(nghttp2_session* /*session*/,
                            std::int32_t /*stream*/,
                            std::uint8_t* bytes,
                            std::size_t most,
                            std::uint32_t* flags,
                            nghttp2_data_source* source,
                            void* /*self*/) {
    auto& call = *static_cast<Call*>(source->ptr);
    std::size_t filled = 0;
    while (filled < most) {
        if (call.given_ == call.sending_.size()) {
            call.sending_.clear();
            call.given_ = 0;
            const std::size_t begin = control::begin_message(call.sending_);
            if (!call.give(call.sending_)) {
                call.sending_.clear();
                break;
            }
            control::end_message(call.sending_, begin);
        }
        const std::size_t count = std::min(most - filled, call.sending_.size() - call.given_);
        std::copy_n(call.sending_.data() + call.given_, count, bytes + filled);
        call.given_ += count;
        filled += count;
    }
    if (filled > 0) {
        return static_cast<ssize_t>(filled);
    }
    if (call.is_ending_) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        return 0;
    }
    call.is_waiting_ = true;
    return NGHTTP2_ERR_DEFERRED;
}

int Connection::on_data(nghttp2_session* /*session*/,
                        std::uint8_t /*flags*/,
                        std::int32_t stream,
                        const std::uint8_t* bytes,
                        std::size_t length,
                        void* self) {
    auto& connection = *static_cast<Connection*>(self);
    const auto found = connection.calls_.find(stream);
    if (found == connection.calls_.end()) {
        return 0;
    }
    Call& call = *found->second;
    call.reader_.add(text_of(bytes, length));
    std::string_view message;
    while (call.reader_.next(message) == control::MessageReader::Found::message) {
        call.take(message);
    }
    call.reader_.keep_rest();
    return 0;
}

int Connection::on_close(nghttp2_session* /*session*/,
                         std::int32_t stream,
                         std::uint32_t /*error*/,
                         void* self) {
    if (const auto found = static_cast<Connection*>(self)->calls_.extract(stream)) {
        Call& call = *found.mapped();
        call.stream_ = -1;
        const std::shared_ptr<Connection> kept = call.connection_;  // until nghttp2 returns
        call.closed();
        kept->want_send();
    }
    return 0;
}

}  // namespace penstock::bench
