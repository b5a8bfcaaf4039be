#include "base/clock.h"
#include "base/socket_address.h"
#include "client/join_client.h"
#include "client/poll_timeout.h"
#include "client/presence_client.h"
#include "client/session_socket.h"
#include "client/stream_name.h"
#include "client/wake_event.h"

#include <penstock/publisher.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <iterator>
#include <mutex>
#include <optional>
#include <poll.h>
#include <thread>
#include <utility>

namespace penstock {
namespace {

using std::chrono::milliseconds;

constexpr std::uint32_t kSendBufferBytes = 4U << 20U;
constexpr std::size_t kSendBurst = 64;
constexpr std::size_t kChangesMax = 32;  // as many may pass before a caller looks

/// A data server we transmit to: its socket, connected to it, and the join there. `socket`,
/// `may_send` and `payload_bytes_max` are guarded by the publisher's send_mutex_, and set by the
/// I/O thread only; the join is the I/O thread's.
struct SendPath {
    SendPath() : join(JoinClient::kNeverProbe, random_u64()) {}

    JoinClient join;
    UniqueFd socket;
    bool may_send = false;
    std::size_t payload_bytes_max = Publisher::kPayloadBytesMax;
};

class PublisherImpl final : public Publisher, private PresenceEvents<DesiredPublishing> {
  public:
    PublisherImpl(const PublisherOptions& options, const IpAddress& bind) : bind_(bind) {
        io_ = std::thread([this] { run(); });
        const PublishRequest request{.publisher_id = random_u64(),
                                     .stream = options.stream,
                                     .start = options.start,
                                     .max_bits_per_second = options.max_bits_per_second,
                                     .close_after = options.close_after};
        // Its thread may report before this constructor is done: then it waits here.
        const std::lock_guard lock(session_mutex_);
        session_ = PublisherSession::open(
            {options.presence, options.tls, options.insecure}, request, *this);
        reporter_ = session_.get();
    }

    ~PublisherImpl() override {
        {
            const std::lock_guard lock(session_mutex_);
            reporter_ = nullptr;
        }
        session_.reset();
        stopping_ = true;
        wake_.set();
        io_.join();
    }

    std::size_t publish(std::span<const std::span<const std::byte>> datagrams) override;

    PublisherStatus wait_change(const PublisherStatus& seen, milliseconds timeout) override {
        std::unique_lock lock(mutex_);
        const auto has_changed = [&] { return change_after(seen).has_value(); };
        if (timeout >= std::chrono::hours{24}) {
            changed_.wait(lock, has_changed);
        } else {
            changed_.wait_for(lock, timeout, has_changed);
        }
        PublisherStatus status = change_after(seen).value_or(status_);
        status.last_error = status_.last_error;
        return counted(std::move(status));
    }

    [[nodiscard]] PublisherStatus status() const override {
        const std::lock_guard lock(mutex_);
        return counted(status_);
    }

    [[nodiscard]] bool is_usable() const noexcept { return static_cast<bool>(wake_); }

  private:
    // In the session's thread.
    void on_desired(const DesiredPublishing& desired) override;
    void on_session(const std::string& trouble, milliseconds /*retry_after*/) override {
        const std::lock_guard lock(mutex_);
        status_.last_error = trouble;
    }
    void on_rejected(const std::string& reason) override {
        forbid_sending();
        const std::lock_guard lock(mutex_);
        status_.state = PublisherState::ended;
        status_.last_error = "presence refused us: " + reason;
        note_change();
    }

    // In the I/O thread.
    void run();
    void apply(const DesiredPublishing& desired, bool was_stopped);
    Result<void> join(SendPath& path, const PublishPlace& place, MonotonicTime now);
    void apply_other(const std::optional<PublishPlace>& place, MonotonicTime now);
    void change_paths();
    void leave(SendPath& path);
    /// Returns: whether the data server has just accepted us.
    bool receive(SendPath& path, MonotonicTime now);
    void send_due(MonotonicTime now);
    void send_messages(SendPath& path, MonotonicTime now);
    void accepted();
    void other_accepted();
    void starting(const std::string& trouble);

    void report();
    void note_change();
    [[nodiscard]] std::optional<PublisherStatus> change_after(const PublisherStatus& seen) const;
    void forbid_sending() {
        const std::lock_guard lock(send_mutex_);
        path_.may_send = false;
        other_.may_send = false;
    }
    [[nodiscard]] PublisherStatus counted(PublisherStatus status) const {
        status.datagrams_sent = datagrams_sent_.load(std::memory_order_relaxed);
        status.bytes_sent = bytes_sent_.load(std::memory_order_relaxed);
        status.datagrams_unsent = datagrams_unsent_.load(std::memory_order_relaxed);
        return status;
    }
    std::size_t send_burst(const SendPath& path,
                           std::span<const std::span<const std::byte>> datagrams);

    const IpAddress bind_;

    mutable std::mutex mutex_;  // guards the eight below; taken before any other
    std::condition_variable changed_;
    PublisherStatus status_;
    std::deque<PublisherStatus> changes_{status_};  // the newest, for wait_change()
    std::optional<DesiredPublishing> pending_;      // for the I/O thread
    bool was_stopped_ = false;                      // a STOP or WAIT came before it
    DesiredPublishing desired_;                     // newest
    std::string trouble_;                           // with the data server
    std::optional<Endpoint> other_place_;           // where other_ is accepted

    std::mutex send_mutex_;  // guards a part of the two below; held while datagrams are handed
                             // over, so that after a STOP was acknowledged none leaves
    SendPath path_;          // where we are to be
    SendPath other_;         // where we are to be, too, while the stream moves

    std::atomic<std::uint64_t> datagrams_sent_ = 0;    // written: publish()
    std::atomic<std::uint64_t> bytes_sent_ = 0;        // written: publish()
    std::atomic<std::uint64_t> datagrams_unsent_ = 0;  // written: publish()
    std::array<mmsghdr, kSendBurst> headers_{};        // publish() only
    std::array<iovec, kSendBurst> vectors_{};

    ReceivedBatch received_;  // the I/O thread only
    WakeEvent wake_;
    std::atomic<bool> stopping_ = false;
    std::thread io_;

    std::unique_ptr<PublisherSession> session_;
    std::mutex session_mutex_;  // guards reporter_
    PublisherSession* reporter_ = nullptr;
};

std::size_t PublisherImpl::publish(std::span<const std::span<const std::byte>> datagrams) {
    const std::lock_guard lock(send_mutex_);
    std::size_t sent = 0;
    std::uint64_t bytes = 0;
    // Just told that the stream has moved, we may not be accepted at the first place yet.
    const SendPath& path = path_.may_send ? path_ : other_;
    while (path.may_send && sent < datagrams.size()) {
        const auto rest = datagrams.subspan(sent);
        const auto burst = rest.first(std::min(rest.size(), kSendBurst));
        const std::size_t taken = send_burst(path, burst);
        for (std::size_t i = 0; i < taken; ++i) {
            bytes += burst[i].size();
        }
        // The same ones to the other place: what it does not take is lost on that way only.
        if (&path == &path_ && other_.may_send) {
            send_burst(other_, burst.first(taken));
        }
        sent += taken;
        if (taken < kSendBurst) {
            break;
        }
    }
    bytes_sent_.fetch_add(bytes, std::memory_order_relaxed);
    datagrams_sent_.fetch_add(sent, std::memory_order_relaxed);
    datagrams_unsent_.fetch_add(datagrams.size() - sent, std::memory_order_relaxed);
    return sent;
}

std::size_t PublisherImpl::send_burst(const SendPath& path,
                                      std::span<const std::span<const std::byte>> datagrams) {
    std::size_t count = 0;
    for (; count < datagrams.size() && datagrams[count].size() <= path.payload_bytes_max; ++count) {
        vectors_[count] = {.iov_base = const_cast<std::byte*>(datagrams[count].data()),
                           .iov_len = datagrams[count].size()};
        headers_[count].msg_hdr = {};
        headers_[count].msg_hdr.msg_iov = &vectors_[count];
        headers_[count].msg_hdr.msg_iovlen = 1;
    }
    if (count == 0) {
        return 0;
    }
    int sent =
        ::sendmmsg(path.socket.get(), headers_.data(), static_cast<unsigned>(count), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
        // An ICMP answer to an earlier datagram waited in the socket and was reported instead of
        // sending; it is taken out thereby.
        sent = ::sendmmsg(
            path.socket.get(), headers_.data(), static_cast<unsigned>(count), MSG_NOSIGNAL);
    }
    return sent <= 0 ? 0 : static_cast<std::size_t>(sent);
}

void PublisherImpl::on_desired(const DesiredPublishing& desired) {
    const MonotonicTime now = monotonic_now();
    const bool is_start = desired.state == DesiredPublishing::State::start;
    bool transmitting = false;
    {
        const std::lock_guard lock(mutex_);
        if (!is_start) {
            forbid_sending();  // before it is acknowledged
        }
        // Where we transmit now is one of the places where we are to.
        const auto keeps = [&](const Endpoint& place) {
            return place == desired.endpoint ||
                   (desired.also.has_value() && place == desired.also->endpoint);
        };
        transmitting =
            is_start && status_.state == PublisherState::transmitting &&
            (keeps(desired_.endpoint) || (other_place_.has_value() && keeps(*other_place_)));
        status_.version = desired.version;
        status_.desired_at = now;
        if (!is_start) {
            status_.state = desired.state == DesiredPublishing::State::stop
                                ? PublisherState::stopped
                                : PublisherState::waiting;
            status_.data_server.clear();
            was_stopped_ = true;
        } else if (!transmitting) {
            status_.state = PublisherState::starting;
            status_.data_server = to_string(desired.endpoint);
        }
        status_.last_error.clear();
        trouble_.clear();
        desired_ = desired;
        pending_ = desired;
        note_change();
        report();
    }
    wake_.set();
}

/// State or version changed. Called with mutex_ held.
void PublisherImpl::note_change() {
    changes_.push_back(status_);
    if (changes_.size() > kChangesMax) {
        changes_.pop_front();
    }
    changed_.notify_all();
}

/// The change that followed the one the caller saw last; nullopt if he saw the newest. Called with
/// mutex_ held.
std::optional<PublisherStatus> PublisherImpl::change_after(const PublisherStatus& seen) const {
    const auto is_seen = [&](const PublisherStatus& status) {
        return status.state == seen.state && status.version == seen.version;
    };
    const auto found = std::find_if(changes_.rbegin(), changes_.rend(), is_seen);
    if (found == changes_.rbegin()) {
        return std::nullopt;
    }
    return found == changes_.rend() ? status_ : *std::prev(found);
}

/// Tells presence what holds now. Called with mutex_ held, so that of two threads the one that
/// changed something last is also the one that is heard last.
void PublisherImpl::report() {
    const PublishingReport report{.version = desired_.version,
                                  .state = desired_.state,
                                  .transmitting = status_.state == PublisherState::transmitting,
                                  .trouble = trouble_};
    const std::lock_guard lock(session_mutex_);
    if (reporter_ != nullptr) {
        reporter_->report(report);
    }
}

void PublisherImpl::run() {
    while (!stopping_) {
        std::optional<DesiredPublishing> desired;
        bool was_stopped = false;
        {
            const std::lock_guard lock(mutex_);
            desired = std::exchange(pending_, std::nullopt);
            was_stopped = std::exchange(was_stopped_, false);
        }
        if (desired) {
            apply(*desired, was_stopped);
        }
        const MonotonicTime now = monotonic_now();
        send_due(now);
        std::array<pollfd, 3> polled{{{.fd = wake_.fd(), .events = POLLIN, .revents = 0},
                                      {.fd = path_.socket.get(), .events = POLLIN, .revents = 0},
                                      {.fd = other_.socket.get(), .events = POLLIN, .revents = 0}}};
        const MonotonicTime due = std::min(path_.join.next_deadline(), other_.join.next_deadline());
        ::poll(polled.data(), polled.size(), poll_timeout_ms(due, now));
        if (polled[0].revents != 0) {
            wake_.clear();
        }
        if (polled[1].revents != 0 && receive(path_, monotonic_now())) {
            accepted();
        }
        if (polled[2].revents != 0 && receive(other_, monotonic_now())) {
            other_accepted();
        }
    }
    leave(path_);
    leave(other_);
}

void PublisherImpl::apply(const DesiredPublishing& desired, bool was_stopped) {
    const MonotonicTime now = monotonic_now();
    if (desired.state != DesiredPublishing::State::start || was_stopped) {
        leave(path_);
        leave(other_);
    }
    if (desired.state != DesiredPublishing::State::start) {
        return;
    }
    const auto is_there = [&](const SendPath& path) {
        return path.join.state() == JoinState::accepted && !path.join.is_silent(now) &&
               path.join.target().server == desired.endpoint;
    };
    const bool joins_there = other_.join.state() == JoinState::joining &&
                             other_.join.target().server == desired.endpoint;
    const bool has_moved = !is_there(path_) && (is_there(other_) || joins_there);
    if (has_moved) {
        change_paths();
    }
    apply_other(desired.also, now);
    if (is_there(path_)) {
        path_.join.confirm(now);
        return;
    }
    if (has_moved) {
        return;  // it is joining already, and we go on at the other place until it is accepted
    }
    leave(path_);
    const Result<void> joined =
        join(path_, {desired.data_server, desired.endpoint, desired.ticket, desired.key}, now);
    if (!joined) {
        starting(joined.error().message);
    }
}

/// What was the other place is the first one from now on, and the other way round.
void PublisherImpl::change_paths() {
    const std::lock_guard lock(mutex_);
    const std::lock_guard send_lock(send_mutex_);
    std::swap(path_, other_);
    other_place_.reset();
    if (other_.may_send) {
        other_place_ = other_.join.target().server;
    }
    status_.data_server = to_string(path_.join.target().server);
}

void PublisherImpl::apply_other(const std::optional<PublishPlace>& place, MonotonicTime now) {
    const JoinState state = other_.join.state();
    const bool is_there = place && (state == JoinState::accepted || state == JoinState::joining) &&
                          other_.join.target().server == place->endpoint;
    if (is_there) {
        if (state == JoinState::accepted) {
            other_.join.confirm(now);
        }
        return;
    }
    leave(other_);
    if (place && !join(other_, *place, now)) {
        // Presence gives the move up, or says it again.
        leave(other_);
    }
}

Result<void> PublisherImpl::join(SendPath& path, const PublishPlace& place, MonotonicTime now) {
    Result<UniqueFd> socket = open_udp_socket({.family = address_family(place.endpoint.ip),
                                               .local = {bind_, 0},
                                               .receive_buffer_bytes = 0,
                                               .send_buffer_bytes = kSendBufferBytes,
                                               .stamps = false});
    if (!socket) {
        return socket.error();
    }
    if (const Result<void> connected = connect_socket(socket->get(), place.endpoint); !connected) {
        return connected.error();
    }
    {
        const std::lock_guard lock(send_mutex_);
        path.socket = std::move(socket.value());
    }
    path.join.start(
        {.server = place.endpoint, .ticket = place.ticket, .key = place.key, .history = {}},
        random_u64(),
        now);
    return {};
}

void PublisherImpl::leave(SendPath& path) {
    const std::span<const std::byte> message = path.join.leave_message();
    if (!message.empty()) {
        send_datagram(path.socket.get(), message);
    }
    path.join.stop();
    const std::lock_guard lock(mutex_);
    const std::lock_guard send_lock(send_mutex_);
    path.may_send = false;
    path.socket.reset();
    if (&path == &other_) {
        other_place_.reset();
    }
}

bool PublisherImpl::receive(SendPath& path, MonotonicTime now) {
    const JoinState before = path.join.state();
    const FlowId flow_before = path.join.flow_id();
    const std::size_t count = received_.receive(path.socket.get(), ReceivedBatch::kDatagramsMax);
    for (std::size_t i = 0; i < count; ++i) {
        path.join.on_datagram(received_.from(i), received_.payload(i), now);
    }
    return path.join.state() == JoinState::accepted &&
           (before != JoinState::accepted || path.join.flow_id() != flow_before);
}

void PublisherImpl::send_messages(SendPath& path, MonotonicTime now) {
    for (auto message = path.join.poll(now); !message.empty(); message = path.join.poll(now)) {
        send_datagram(path.socket.get(), message);
    }
}

void PublisherImpl::send_due(MonotonicTime now) {
    send_messages(path_, now);
    send_messages(other_, now);
    if (other_.join.state() == JoinState::ended) {
        leave(other_);
    }
    if (path_.join.state() == JoinState::ended) {
        // With the ticket we have; a new one follows if presence wants us to go on.
        starting(path_.join.trouble(now));
        path_.join.start(path_.join.target(), random_u64(), now);
    } else if (path_.join.take_renewal(now)) {
        const std::lock_guard lock(mutex_);
        trouble_ = path_.join.trouble(now);
        status_.last_error = trouble_;
        report();
    }
}

void PublisherImpl::accepted() {
    const std::lock_guard lock(mutex_);
    // A STOP or another place may have come between: then that holds.
    if (desired_.state != DesiredPublishing::State::start ||
        desired_.endpoint != path_.join.target().server || was_stopped_) {
        return;
    }
    {
        const std::lock_guard send_lock(send_mutex_);
        path_.may_send = true;
        path_.payload_bytes_max = std::min(kPayloadBytesMax, path_.join.payload_bytes_max());
    }
    status_.state = PublisherState::transmitting;
    status_.last_error.clear();
    trouble_.clear();
    note_change();
    report();
}

void PublisherImpl::other_accepted() {
    const std::lock_guard lock(mutex_);
    const Endpoint place = other_.join.target().server;
    if (desired_.state != DesiredPublishing::State::start || was_stopped_) {
        return;
    }
    const std::lock_guard send_lock(send_mutex_);
    other_.may_send = true;
    other_.payload_bytes_max = std::min(kPayloadBytesMax, other_.join.payload_bytes_max());
    other_place_ = place;
}

void PublisherImpl::starting(const std::string& trouble) {
    const std::lock_guard lock(mutex_);
    {
        const std::lock_guard send_lock(send_mutex_);
        path_.may_send = false;
    }
    if (desired_.state == DesiredPublishing::State::start) {
        status_.state = PublisherState::starting;
    }
    status_.last_error = trouble;
    trouble_ = trouble;
    note_change();
    report();
}

}  // namespace

Result<std::unique_ptr<Publisher>> Publisher::open(const PublisherOptions& options) {
    const Result<void> name = check_stream_name(options.stream);
    if (!name) {
        return name.error();
    }
    const Result<void> presence = check_presence({options.presence, options.tls, options.insecure});
    if (!presence) {
        return presence.error();
    }
    const Result<IpAddress> bind = parse_bind_address(options.bind_address);
    if (!bind) {
        return bind.error();
    }
    if (!initialise_cryptography()) {
        return Error{ErrorCode::system, "libsodium finds no source of randomness"};
    }
    // A trial: whether the address can be bound at all is better known now than at START.
    const Result<UniqueFd> trial = open_udp_socket(
        {.family = address_family(*bind), .local = {*bind, 0}, .receive_buffer_bytes = 0});
    if (!trial) {
        return trial.error();
    }
    auto publisher = std::make_unique<PublisherImpl>(options, *bind);
    if (!publisher->is_usable()) {
        return system_error("cannot open an eventfd", EMFILE);
    }
    return std::unique_ptr<Publisher>(std::move(publisher));
}

}  // namespace penstock
