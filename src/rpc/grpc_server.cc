#include "rpc/grpc_server.h"

#include "base/check.h"
#include "base/socket_address.h"
#include "rpc/grpc_connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <span>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <system_error>
#include <utility>

namespace penstock::control {
namespace {

constexpr int kReadyMost = 32;  // descriptors served before what they led to is sent
constexpr int kAcceptsAtOnce = 64;
constexpr int kBacklog = 4096;
constexpr std::size_t kReadBytes = 16U << 10U;  // of one connection, before the next has its turn
constexpr std::chrono::seconds kLookInterval{1};

Error cannot_listen(const Endpoint& address) {
    return {ErrorCode::unavailable,
            fmt::format("cannot listen at {}: {}; choose another --listen",
                        to_string(address),
                        std::generic_category().message(errno))};
}

/// As many as there are files for, less some for everything else.
std::size_t connections_max() {
    constexpr rlim_t kOthers = 64;
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    const rlim_t ours =
        files.rlim_cur >= 2 * kOthers ? files.rlim_cur - kOthers : files.rlim_cur / 2;
    return std::min<rlim_t>(ours, GrpcServer::kConnectionsMax);
}

}  // namespace

Result<std::unique_ptr<GrpcServer>> GrpcServer::listen(const Endpoint& address,
                                                       const TlsFiles& tls,
                                                       std::size_t message_bytes_max,
                                                       OpenCall open_call,
                                                       std::function<bool()> may_send) {
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
    if (!listener) {
        return cannot_listen(address);
    }
    const int reuse = 1;
    ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse));
    const SocketAddress wanted = to_socket_address(address);
    sockaddr_storage bound{};
    socklen_t bytes = sizeof(bound);
    if (::bind(listener.get(), wanted.get(), wanted.length) != 0 ||
        ::listen(listener.get(), kBacklog) != 0 ||
        ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&bound), &bytes) != 0) {
        return cannot_listen(address);
    }
    return std::unique_ptr<GrpcServer>(new GrpcServer({address.ip, to_endpoint(bound).port},
                                                      std::move(listener),
                                                      std::move(renewal),
                                                      message_bytes_max,
                                                      std::move(open_call),
                                                      std::move(may_send)));
}

GrpcServer::GrpcServer(Endpoint listening,
                       UniqueFd listener,
                       std::unique_ptr<TlsRenewal> tls,
                       std::size_t message_bytes_max,
                       OpenCall open_call,
                       std::function<bool()> may_send)
    : listening_(listening),
      listener_(std::move(listener)),
      tls_(std::move(tls)),
      message_bytes_max_(message_bytes_max),
      open_call_(std::move(open_call)),
      may_send_(std::move(may_send)),
      connections_max_(connections_max()),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      wake_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
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
    for (const Call* paused : paused_) {
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
        // Had we not run for a while, what is missed may still wait to be read.
        const bool is_late = now >= std::exchange(look_at_, now + kLookInterval) + kLookInterval;
        watch_listener(true);
        if (!is_late) {
            look_after(now);
        }
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
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            watch_listener(false);  // until we look after everything again
            return;
        }
        if (errno != ECONNABORTED && errno != EINTR) {
            return;
        }
    }
}

void GrpcServer::watch_listener(bool is_accepting) {
    if (std::exchange(is_accepting_, is_accepting) != is_accepting) {
        epoll_event event{.events = is_accepting ? EPOLLIN : 0U, .data = {.ptr = &listener_}};
        PENSTOCK_CHECK(::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, listener_.get(), &event) == 0);
    }
}

void GrpcServer::accept_one(UniqueFd socket) {
    if (connections_.size() >= connections_max_) {
        return;  // hung up on, and not left to wait: it asks again
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
    const std::vector<Call*> paused = paused_;
    for (Call* const call : paused) {
        if (now >= call->paused_until()) {
            std::erase(paused_, call);
            call->go_on();  // which may begin another pause
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
    dropped_.push_back(std::move(dropped));
}

}  // namespace penstock::control
