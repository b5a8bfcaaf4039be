#include "rpc/grpc_server.h"

#include "base/check.h"
#include "base/socket_address.h"
#include "rpc/grpc_connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <span>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <system_error>
#include <utility>

namespace penstock::control {
namespace {

constexpr int kReadyMost = 256;  // descriptors served before what they led to is sent
constexpr int kAcceptsAtOnce = 64;
constexpr int kBacklog = 4096;
constexpr std::size_t kReadBytes = 64U << 10U;  // of one connection, before the next has its turn
constexpr std::chrono::seconds kLookInterval{1};

Error cannot_listen(const Endpoint& address) {
    return {ErrorCode::unavailable,
            fmt::format("cannot listen at {}: {}; choose another --listen",
                        to_string(address),
                        std::generic_category().message(errno))};
}

UniqueFd spare_file() { return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

}  // namespace

Result<std::unique_ptr<GrpcServer>> GrpcServer::listen(const Endpoint& address,
                                                       const TlsFiles& tls,
                                                       std::size_t message_bytes_max,
                                                       OpenCall open_call) {
    std::unique_ptr<TlsRenewal> renewal;
    if (tls.any()) {
        auto started = TlsRenewal::start(tls);
        if (!started) {
            return std::move(started).error();
        }
        renewal = std::move(started).value();
    }
    // Without SO_REUSEPORT: a busy port is an error, not something to share with a second server.
    UniqueFd listener(
        ::socket(address_family(address.ip), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int reuse = 1;
    ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse));
    const SocketAddress wanted = to_socket_address(address);
    sockaddr_storage bound{};
    socklen_t bytes = sizeof(bound);
    if (!listener || ::bind(listener.get(), wanted.get(), wanted.length) != 0 ||
        ::listen(listener.get(), kBacklog) != 0 ||
        ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&bound), &bytes) != 0) {
        return cannot_listen(address);
    }
    return std::unique_ptr<GrpcServer>(new GrpcServer({address.ip, to_endpoint(bound).port},
                                                      std::move(listener),
                                                      std::move(renewal),
                                                      message_bytes_max,
                                                      std::move(open_call)));
}

GrpcServer::GrpcServer(Endpoint listening,
                       UniqueFd listener,
                       std::unique_ptr<TlsRenewal> tls,
                       std::size_t message_bytes_max,
                       OpenCall open_call)
    : listening_(listening),
      listener_(std::move(listener)),
      tls_(std::move(tls)),
      message_bytes_max_(message_bytes_max),
      open_call_(std::move(open_call)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      wake_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      spare_(spare_file()),
      look_at_(monotonic_now() + kLookInterval),
      received_(kReadBytes, '\0') {
    PENSTOCK_CHECK(epoll_ && wake_);
    for (UniqueFd* const watched : {&listener_, &wake_}) {
        epoll_event event{.events = EPOLLIN, .data = {.ptr = watched}};
        PENSTOCK_CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, watched->get(), &event) == 0);
    }
}

GrpcServer::~GrpcServer() {
    listener_.reset();
    while (!connections_.empty()) {
        drop(*connections_.back());
    }
}

void GrpcServer::wake() const noexcept {
    const std::uint64_t one = 1;
    static_cast<void>(::write(wake_.get(), &one, sizeof(one)));  // full: it is awake anyway
}

void GrpcServer::poll(MonotonicTime until) {
    send_all();
    for (const Connection* paused : paused_) {
        until = std::min(until, paused->paused_until());
    }
    int ready = take_ready(milliseconds_until(std::min(until, look_at_)));
    const MonotonicTime turn_end = monotonic_now() + kTurnMost;
    send_all();
    while (ready == kReadyMost && monotonic_now() < turn_end) {
        ready = take_ready(0);
        send_all();
    }
    const MonotonicTime now = monotonic_now();
    resume_paused(now);
    if (now >= look_at_) {
        look_at_ = now + kLookInterval;
        look_after(now);
    }
    send_all();
    dropped_.clear();
}

int GrpcServer::milliseconds_until(MonotonicTime until) const {
    constexpr std::chrono::milliseconds kMost{10'000};
    const MonotonicTime now = monotonic_now();
    if (until <= now) {
        return 0;
    }
    return static_cast<int>(
        until - now >= kMost ? kMost.count()
                             : std::chrono::ceil<std::chrono::milliseconds>(until - now).count());
}

int GrpcServer::take_ready(int patience_ms) {
    std::array<epoll_event, kReadyMost> events;  // NOLINT(*-member-init): filled by the system
    const int count = ::epoll_wait(epoll_.get(), events.data(), kReadyMost, patience_ms);
    for (const epoll_event& event :
         std::span(events).first(static_cast<std::size_t>(std::max(count, 0)))) {
        if (event.data.ptr == &listener_) {
            accept_all();
        } else if (event.data.ptr == &wake_) {
            std::uint64_t times = 0;
            static_cast<void>(::read(wake_.get(), &times, sizeof(times)));
        } else {
            auto& connection = *static_cast<Connection*>(event.data.ptr);
            const bool is_good = ((event.events & EPOLLOUT) == 0 || connection.send()) &&
                                 ((event.events & ~EPOLLOUT) == 0 || connection.receive());
            if (!is_good) {
                drop(connection);
            }
        }
    }
    return count;
}

void GrpcServer::accept_all() {
    for (int i = 0; i < kAcceptsAtOnce; ++i) {
        UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (socket) {
            accept_one(std::move(socket));
            continue;
        }
        if (errno == EMFILE || errno == ENFILE) {
            // Who is refused now asks again later; who waits in the queue would not know why.
            spare_.reset();
            socket = UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
            socket.reset();
            spare_ = spare_file();
            continue;
        }
        if (errno != ECONNABORTED && errno != EINTR) {
            return;
        }
    }
}

void GrpcServer::accept_one(UniqueFd socket) {
    if (connections_.size() >= kConnectionsMax) {
        return;
    }
    std::optional<TlsStream> tls;
    if (tls_ != nullptr) {
        tls.emplace(TlsStream::accept(*tls_->newest()));
    }
    connections_.push_back(std::make_unique<Connection>(*this, std::move(socket), std::move(tls)));
    connections_.back()->place = connections_.size() - 1;
    if (!connections_.back()->begin()) {
        drop(*connections_.back());
    }
}

void GrpcServer::send_all() {
    // What is closed here may have others say something, too.
    while (!unsent_.empty()) {
        for (Connection* const connection : std::exchange(unsent_, {})) {
            connection->is_listed = false;
            if (connection->socket() >= 0 && !connection->send()) {
                drop(*connection);
            }
        }
    }
}

void GrpcServer::look_after(MonotonicTime now) {
    for (std::size_t i = connections_.size(); i > 0; --i) {
        if (i <= connections_.size() && !connections_[i - 1]->look(now)) {
            drop(*connections_[i - 1]);
        }
    }
}

void GrpcServer::resume_paused(MonotonicTime now) {
    for (Connection* const connection : std::exchange(paused_, {})) {
        if (connection->socket() >= 0 && !connection->resume(now)) {
            paused_.push_back(connection);
        }
    }
}

void GrpcServer::drop(Connection& connection) {
    if (connection.socket() < 0) {
        return;
    }
    std::unique_ptr<Connection> dropped = std::move(connections_[connection.place]);
    std::swap(connections_[connection.place], connections_.back());
    connections_.pop_back();
    if (connection.place < connections_.size()) {
        connections_[connection.place]->place = connection.place;
    }
    dropped->close();
    std::erase(paused_, dropped.get());
    dropped_.push_back(std::move(dropped));
}

}  // namespace penstock::control
