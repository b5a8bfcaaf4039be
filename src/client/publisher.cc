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

class PublisherImpl final : public Publisher, private PresenceEvents<DesiredPublishing> {
  public:
    PublisherImpl(const PublisherOptions& options, const IpAddress& bind)
        : bind_(bind), join_(JoinClient::kNeverProbe, random_u64()) {
        io_ = std::thread([this] { run(); });
        const PublishRequest request{.publisher_id = random_u64(),
                                     .stream = options.stream,
                                     .start = options.start,
                                     .max_bits_per_second = options.max_bits_per_second,
                                     .close_after = options.close_after};
        // Its thread may report before this constructor is done: then it waits here.
        const std::lock_guard lock(session_mutex_);
        session_ = PublisherSession::open({options.presence, options.insecure}, request, *this);
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
    void on_session(const std::string& trouble) override {
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
    void join(const DesiredPublishing& desired, MonotonicTime now);
    void leave();
    void receive(MonotonicTime now);
    void send_due(MonotonicTime now);
    void accepted();
    void starting(const std::string& trouble);

    void report();
    void note_change();
    [[nodiscard]] std::optional<PublisherStatus> change_after(const PublisherStatus& seen) const;
    void forbid_sending() {
        const std::lock_guard lock(send_mutex_);
        may_send_ = false;
    }
    [[nodiscard]] PublisherStatus counted(PublisherStatus status) const {
        status.datagrams_sent = datagrams_sent_.load(std::memory_order_relaxed);
        status.bytes_sent = bytes_sent_.load(std::memory_order_relaxed);
        status.datagrams_unsent = datagrams_unsent_.load(std::memory_order_relaxed);
        return status;
    }
    std::size_t send_burst(std::span<const std::span<const std::byte>> datagrams);

    const IpAddress bind_;

    mutable std::mutex mutex_;  // guards the seven below; taken before any other
    std::condition_variable changed_;
    PublisherStatus status_;
    std::deque<PublisherStatus> changes_{status_};  // the newest, for wait_change()
    std::optional<DesiredPublishing> pending_;      // for the I/O thread
    bool was_stopped_ = false;                      // a STOP or WAIT came before it
    DesiredPublishing desired_;                     // newest
    std::string trouble_;                           // with the data server

    std::mutex send_mutex_;  // guards the three below; held while datagrams are handed over, so
                             // that after a STOP was acknowledged none leaves
    UniqueFd socket_;        // connected to the data server; set by the I/O thread
    bool may_send_ = false;
    std::size_t payload_bytes_max_ = kPayloadBytesMax;

    std::atomic<std::uint64_t> datagrams_sent_ = 0;    // written: publish()
    std::atomic<std::uint64_t> bytes_sent_ = 0;        // written: publish()
    std::atomic<std::uint64_t> datagrams_unsent_ = 0;  // written: publish()
    std::array<mmsghdr, kSendBurst> headers_{};        // publish() only
    std::array<iovec, kSendBurst> vectors_{};

    JoinClient join_;  // the I/O thread only
    ReceivedBatch received_;
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
    while (may_send_ && sent < datagrams.size()) {
        const auto rest = datagrams.subspan(sent);
        const std::size_t taken = send_burst(rest.first(std::min(rest.size(), kSendBurst)));
        sent += taken;
        if (taken < kSendBurst) {
            break;
        }
    }
    datagrams_sent_.fetch_add(sent, std::memory_order_relaxed);
    datagrams_unsent_.fetch_add(datagrams.size() - sent, std::memory_order_relaxed);
    return sent;
}

std::size_t PublisherImpl::send_burst(std::span<const std::span<const std::byte>> datagrams) {
    std::size_t count = 0;
    for (; count < datagrams.size() && datagrams[count].size() <= payload_bytes_max_; ++count) {
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
        ::sendmmsg(socket_.get(), headers_.data(), static_cast<unsigned>(count), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
        // An ICMP answer to an earlier datagram waited in the socket and was reported instead of
        // sending; it is taken out thereby.
        sent =
            ::sendmmsg(socket_.get(), headers_.data(), static_cast<unsigned>(count), MSG_NOSIGNAL);
    }
    if (sent <= 0) {
        return 0;
    }
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(sent); ++i) {
        bytes += vectors_[i].iov_len;
    }
    bytes_sent_.fetch_add(bytes, std::memory_order_relaxed);
    return static_cast<std::size_t>(sent);
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
        transmitting = is_start && status_.state == PublisherState::transmitting &&
                       desired_.endpoint == desired.endpoint;
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
        std::array<pollfd, 2> polled{{{.fd = wake_.fd(), .events = POLLIN, .revents = 0},
                                      {.fd = socket_.get(), .events = POLLIN, .revents = 0}}};
        ::poll(polled.data(), polled.size(), poll_timeout_ms(join_.next_deadline(), now));
        if (polled[0].revents != 0) {
            wake_.clear();
        }
        if (polled[1].revents != 0) {
            receive(monotonic_now());
        }
    }
    leave();
}

void PublisherImpl::apply(const DesiredPublishing& desired, bool was_stopped) {
    const MonotonicTime now = monotonic_now();
    if (desired.state != DesiredPublishing::State::start) {
        leave();
        return;
    }
    const bool is_there = join_.state() == JoinState::accepted && !join_.is_silent(now) &&
                          join_.target().server == desired.endpoint;
    if (is_there && !was_stopped) {
        join_.confirm(now);
        return;
    }
    leave();
    join(desired, now);
}

void PublisherImpl::join(const DesiredPublishing& desired, MonotonicTime now) {
    Result<UniqueFd> socket = open_udp_socket({.family = address_family(desired.endpoint.ip),
                                               .local = {bind_, 0},
                                               .receive_buffer_bytes = 0,
                                               .send_buffer_bytes = kSendBufferBytes,
                                               .stamps = false});
    const Result<void> connected =
        socket ? connect_socket(socket->get(), desired.endpoint) : Result<void>(socket.error());
    if (!connected) {
        starting(connected.error().message);
        return;
    }
    {
        const std::lock_guard lock(send_mutex_);
        socket_ = std::move(socket.value());
    }
    join_.start(
        {.server = desired.endpoint, .ticket = desired.ticket, .key = desired.key, .history = {}},
        random_u64(),
        now);
}

void PublisherImpl::leave() {
    const std::span<const std::byte> message = join_.leave_message();
    if (!message.empty()) {
        send_datagram(socket_.get(), message);
    }
    join_.stop();
    const std::lock_guard lock(send_mutex_);
    may_send_ = false;
    socket_.reset();
}

void PublisherImpl::receive(MonotonicTime now) {
    const JoinState before = join_.state();
    const FlowId flow_before = join_.flow_id();
    const std::size_t count = received_.receive(socket_.get(), ReceivedBatch::kDatagramsMax);
    for (std::size_t i = 0; i < count; ++i) {
        join_.on_datagram(received_.from(i), received_.payload(i), now);
    }
    if (join_.state() == JoinState::accepted &&
        (before != JoinState::accepted || join_.flow_id() != flow_before)) {
        accepted();
    }
}

void PublisherImpl::send_due(MonotonicTime now) {
    for (auto message = join_.poll(now); !message.empty(); message = join_.poll(now)) {
        send_datagram(socket_.get(), message);
    }
    if (join_.state() == JoinState::ended) {
        // With the ticket we have; a new one follows if presence wants us to go on.
        starting(join_.trouble(now));
        join_.start(join_.target(), random_u64(), now);
    } else if (join_.take_renewal(now)) {
        const std::lock_guard lock(mutex_);
        trouble_ = join_.trouble(now);
        status_.last_error = trouble_;
        report();
    }
}

void PublisherImpl::accepted() {
    const std::lock_guard lock(mutex_);
    // A STOP or another place may have come between: then that holds.
    if (desired_.state != DesiredPublishing::State::start ||
        desired_.endpoint != join_.target().server || was_stopped_) {
        return;
    }
    {
        const std::lock_guard send_lock(send_mutex_);
        may_send_ = true;
        payload_bytes_max_ = std::min(kPayloadBytesMax, join_.payload_bytes_max());
    }
    status_.state = PublisherState::transmitting;
    status_.last_error.clear();
    trouble_.clear();
    note_change();
    report();
}

void PublisherImpl::starting(const std::string& trouble) {
    const std::lock_guard lock(mutex_);
    forbid_sending();
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
    const Result<void> presence = check_presence_addresses({options.presence, options.insecure});
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
