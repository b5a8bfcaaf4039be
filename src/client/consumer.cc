#include "base/clock.h"
#include "base/socket_address.h"
#include "base/units.h"
#include "client/join_client.h"
#include "client/path_merge.h"
#include "client/poll_timeout.h"
#include "client/presence_client.h"
#include "client/session_socket.h"
#include "client/stream_name.h"
#include "client/wake_event.h"

#include <penstock/consumer.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <optional>
#include <poll.h>
#include <utility>

namespace penstock {
namespace {

using std::chrono::milliseconds;

/// A consumer whose flow stands when it must ask presence anew gives a presence that has just
/// started this long to learn of the stream, instead of being told that it is absent.
constexpr milliseconds kWaitWithFlow{30'000};

/// What a presence that is being restarted needs to answer a first request.
constexpr milliseconds kPresencePatience{5'000};

class ConsumerImpl final : public Consumer, private ConsumerEvents {
  public:
    ConsumerImpl(const ConsumerOptions& options, UniqueFd socket)
        : options_(options),
          socket_(std::move(socket)),
          answer_by_(time_after(monotonic_now(), std::max(options.wait, kPresencePatience))),
          join_(new_join()) {
        session_ = ConsumerSession::open(
            {options.presence, options.tls, options.insecure}, random_u64(), options.stream, *this);
    }

    ~ConsumerImpl() override {
        session_.reset();
        send_leave();
    }

    Result<std::size_t> receive(std::span<Datagram> datagrams, milliseconds timeout) override;

    void leave() override {
        session_.reset();
        send_leave();
        end({ErrorCode::unavailable, "the consumer has left"});
    }

    [[nodiscard]] ConsumerStatus status() const override {
        const std::lock_guard lock(mutex_);
        ConsumerStatus status = status_;
        status.datagrams = datagrams_.load(std::memory_order_relaxed);
        status.bytes = bytes_.load(std::memory_order_relaxed);
        status.strangers = strangers_.load(std::memory_order_relaxed);
        status.socket_overflows = overflows_.load(std::memory_order_relaxed);
        return status;
    }

    [[nodiscard]] bool is_usable() const noexcept { return static_cast<bool>(wake_); }

  private:
    static JoinClient new_join() { return {JoinClient::kProbeAfter, random_u64()}; }

    // In the session's thread.
    void on_desired(const DesiredConsuming& desired) override;
    void on_session(const std::string& trouble, milliseconds retry_after) override {
        const std::lock_guard lock(mutex_);
        refused_for_ = retry_after;
        if (!error_) {
            status_.last_error = trouble;
        }
    }
    void on_rejected(const std::string& reason) override {
        end({ErrorCode::denied, "presence refused us: " + reason});
    }
    milliseconds on_request() override;

    // In receive().
    void end_if_unanswered(MonotonicTime now);
    void apply_desired(MonotonicTime now);
    void apply(const DesiredConsuming& desired, MonotonicTime now);
    void send_due(MonotonicTime now);
    void send_due_of(JoinClient& join, MonotonicTime now);
    std::size_t take_content(std::span<Datagram> datagrams, MonotonicTime now);
    bool takes(std::size_t index, MonotonicTime now, std::uint64_t& strangers);
    bool goes_back(MonotonicTime now);
    std::size_t take_merged(std::span<Datagram> datagrams);
    void go_on_moving(MonotonicTime now);
    void wait(MonotonicTime deadline);
    void leave_previous();
    void give_flow_up();
    void set_state(ConsumerState state);

    void end(const Error& error);
    [[nodiscard]] std::optional<Error> error() const {
        const std::lock_guard lock(mutex_);
        return error_;
    }
    void send_leave() {
        send_leave_of(join_);
        leave_previous();
    }
    void send_leave_of(JoinClient& join) {
        const std::span<const std::byte> message = join.leave_message();
        if (!message.empty()) {
            send_datagram(socket_.get(), join.target().server, message);
        }
        join.stop();
    }

    const ConsumerOptions options_;
    const UniqueFd socket_;
    WakeEvent wake_;

    mutable std::mutex mutex_;  // guards the six below
    ConsumerStatus status_;
    milliseconds refused_for_{0};  // when presence, refusing us, said to ask again
    std::optional<Error> error_;
    std::optional<DesiredConsuming> pending_;  // for receive()
    std::optional<MonotonicTime> wait_until_;  // for an absent stream, from the first request
    bool has_flow_ = false;

    std::atomic<std::uint64_t> datagrams_ = 0;  // written: receive()
    std::atomic<std::uint64_t> bytes_ = 0;      // written: receive()
    std::atomic<std::uint64_t> strangers_ = 0;  // written: receive()
    std::atomic<std::uint64_t> overflows_ = 0;  // written: receive()
    std::atomic<bool> has_news_ = false;        // pending_ or error_ was set

    // receive() only.
    const MonotonicTime answer_by_;  // the first one of presence
    bool is_answered_ = false;
    JoinClient join_;
    std::optional<JoinClient> previous_;  // the flow we have until the new one has gone on from it
    std::optional<PathMerge> merge_;      // of that one's content and the new one's
    ReceivedBatch received_;
    bool is_told_to_wait_ = false;  // by presence, while a flow may still stand
    bool may_have_more_ = false;    // the last receive filled all its room

    std::unique_ptr<ConsumerSession> session_;  // last: its thread uses the above
};

Result<std::size_t> ConsumerImpl::receive(std::span<Datagram> datagrams, milliseconds timeout) {
    if (datagrams.empty()) {
        return Error{ErrorCode::invalid_argument, "receive() was given no room for datagrams"};
    }
    const MonotonicTime deadline = time_after(monotonic_now(), timeout);
    while (true) {
        MonotonicTime now = monotonic_now();
        if (has_news_.exchange(false)) {
            apply_desired(now);
        }
        if (!is_answered_) {
            end_if_unanswered(now);
        }
        if (join_.state() == JoinState::idle) {
            if (const std::optional<Error> ended = error()) {
                has_news_ = true;  // for the next receive(), too
                return *ended;
            }
        }
        send_due(now);
        if (!may_have_more_) {
            wait(deadline);
            now = monotonic_now();
        }
        const std::size_t count = take_content(datagrams, now);
        if (count > 0) {
            return count;
        }
        if (now >= deadline && !may_have_more_) {
            return std::size_t{0};
        }
    }
}

void ConsumerImpl::wait(MonotonicTime deadline) {
    MonotonicTime until = std::min(deadline, join_.next_deadline());
    if (previous_) {
        until = std::min(until, previous_->next_deadline());
    }
    if (!is_answered_) {
        until = std::min(until, answer_by_);
    }
    if (merge_) {
        until = std::min(until, merge_->deadline());
    }
    std::array<pollfd, 2> polled{{{.fd = socket_.get(), .events = POLLIN, .revents = 0},
                                  {.fd = wake_.fd(), .events = POLLIN, .revents = 0}}};
    ::poll(polled.data(), polled.size(), poll_timeout_ms(until, monotonic_now()));
    if (polled[1].revents != 0) {
        wake_.clear();
    }
}

std::size_t ConsumerImpl::take_content(std::span<Datagram> datagrams, MonotonicTime now) {
    if (merge_) {
        merge_->release();
        if (merge_->is_done()) {
            merge_.reset();
        }
    }
    // What the merge has waiting comes first, and there is room for what it gives meanwhile.
    std::size_t filled = take_merged(datagrams);
    const std::size_t room = std::min(datagrams.size() - filled, ReceivedBatch::kDatagramsMax);
    if (room > 0) {
        const std::size_t count = received_.receive(socket_.get(), room);
        may_have_more_ = count == room;
        std::uint64_t strangers = 0;
        for (std::size_t i = 0; i < count; ++i) {
            if (takes(i, now, strangers)) {
                datagrams[filled++] = {.payload = received_.payload(i),
                                       .received_at = received_.received_at(i)};
            }
        }
        strangers_.fetch_add(strangers, std::memory_order_relaxed);
        overflows_.store(received_.overflows(), std::memory_order_relaxed);
    }
    if (merge_) {
        go_on_moving(now);
        filled += take_merged(datagrams.subspan(filled));
        may_have_more_ = may_have_more_ || merge_->has_next();
    }
    std::uint64_t bytes = 0;
    for (const Datagram& datagram : datagrams.first(filled)) {
        bytes += datagram.payload.size();
    }
    datagrams_.fetch_add(filled, std::memory_order_relaxed);
    bytes_.fetch_add(bytes, std::memory_order_relaxed);
    return filled;
}

/// Whether the received datagram is content to be handed on from where it lies.
bool ConsumerImpl::takes(std::size_t index, MonotonicTime now, std::uint64_t& strangers) {
    const Endpoint from = received_.from(index);
    const JoinState before = join_.state();
    Arrival arrival = join_.on_datagram(from, received_.payload(index), now);
    if (before == JoinState::joining && join_.state() == JoinState::accepted) {
        set_state(ConsumerState::receiving);
        if (merge_) {
            merge_->open_new(now);
        }
    }
    const bool is_new = arrival != Arrival::stranger;
    if (!is_new && previous_) {
        arrival = previous_->on_datagram(from, received_.payload(index), now);
    }
    strangers += arrival == Arrival::stranger ? 1 : 0;
    if (arrival != Arrival::content) {
        return false;
    }
    if (!merge_) {
        return true;
    }
    if (!is_new) {
        return merge_->take_old(received_.payload(index), now);
    }
    merge_->take_new(received_.payload(index), received_.received_at(index), now);
    return false;
}

std::size_t ConsumerImpl::take_merged(std::span<Datagram> datagrams) {
    std::size_t filled = 0;
    while (merge_ && filled < datagrams.size()) {
        const PathMerge::Held* held = merge_->next();
        if (held == nullptr) {
            break;
        }
        datagrams[filled++] = {.payload = held->payload, .received_at = held->received_at};
    }
    return filled;
}

void ConsumerImpl::go_on_moving(MonotonicTime now) {
    merge_->look(now);
    if (merge_->is_over() && join_.state() == JoinState::accepted) {
        leave_previous();
    }
}

void ConsumerImpl::leave_previous() {
    if (previous_) {
        send_leave_of(*previous_);
        previous_.reset();
    }
}

void ConsumerImpl::send_due_of(JoinClient& join, MonotonicTime now) {
    for (auto message = join.poll(now); !message.empty(); message = join.poll(now)) {
        send_datagram(socket_.get(), join.target().server, message);
    }
}

void ConsumerImpl::send_due(MonotonicTime now) {
    send_due_of(join_, now);
    if (previous_) {
        send_due_of(*previous_, now);
        if (previous_->state() == JoinState::ended) {
            previous_.reset();
        }
    }
    const bool has_ended = join_.state() == JoinState::ended;
    if (is_told_to_wait_) {
        if (has_ended || join_.is_silent(now)) {
            give_flow_up();  // presence will say where it goes on
        }
        return;
    }
    if (!has_ended && !join_.take_renewal(now)) {
        return;
    }
    std::uint64_t version = 0;
    {
        const std::lock_guard lock(mutex_);
        status_.last_error = join_.trouble(now);
        version = status_.version;
    }
    session_->renew(version);
    if (has_ended) {
        // With the ticket we have, which may still be good; presence's answer supersedes it.
        join_.start(join_.target(), random_u64(), now);
        set_state(ConsumerState::joining);
    }
}

/// No presence server has served us in the time that a stream would be waited for.
void ConsumerImpl::end_if_unanswered(MonotonicTime now) {
    if (now < answer_by_) {
        return;
    }
    is_answered_ = true;  // as far as that matters
    std::string why;
    milliseconds refused_for{0};
    {
        const std::lock_guard lock(mutex_);
        why = status_.last_error;
        refused_for = refused_for_;
    }
    end({ErrorCode::unavailable,
         refused_for.count() > 0
             ? fmt::format("no presence server has taken the request ({}): ask again in {}",
                           why,
                           format_duration(std::max(refused_for, kPresencePatience)))
             : fmt::format(
                   "no presence server has answered ({}): check its address; ask again in {}",
                   why.empty() ? "no answer" : why,
                   format_duration(kPresencePatience))});
}

void ConsumerImpl::apply_desired(MonotonicTime now) {
    std::optional<DesiredConsuming> desired;
    bool has_ended = false;
    {
        const std::lock_guard lock(mutex_);
        desired = std::exchange(pending_, std::nullopt);
        has_ended = error_.has_value();
    }
    is_answered_ = is_answered_ || has_ended || desired.has_value();
    if (has_ended) {
        send_leave();
    } else if (desired) {
        apply(*desired, now);
    }
}

void ConsumerImpl::apply(const DesiredConsuming& desired, MonotonicTime now) {
    const bool stands = join_.state() == JoinState::accepted && !join_.is_silent(now);
    is_told_to_wait_ = desired.state == DesiredConsuming::State::wait;
    if (is_told_to_wait_) {
        // A presence that has just started knows of no stream yet. A flow that stands is the data
        // server's to end, which it does when the stream is closed there; and while we move, the
        // one we come from stands.
        if (!stands && !goes_back(now)) {
            give_flow_up();
        }
        return;
    }
    if (stands && join_.target().server == desired.endpoint) {
        join_.confirm(now);
        set_state(ConsumerState::receiving);
        return;
    }
    if (previous_ && previous_->target().server == desired.endpoint && goes_back(now)) {
        return;
    }
    // Content goes on from where it came until the new place has it, too. History was for the
    // first join: whoever moves, or tries once more to, wants to go on, not to begin again.
    HistoryRequest history = options_.history;
    if (stands || merge_) {
        history = {};
    }
    if (stands) {
        leave_previous();
        previous_ = std::exchange(join_, new_join());
        if (merge_) {
            merge_->restart(now);
        } else {
            merge_.emplace();
        }
    }
    join_.start({.server = desired.endpoint,
                 .ticket = desired.ticket,
                 .key = desired.key,
                 .history = history},
                random_u64(),
                now);
    set_state(ConsumerState::joining);
}

/// To the place we are just leaving, if our flow there stands. Returns: whether it does.
bool ConsumerImpl::goes_back(MonotonicTime now) {
    if (!previous_ || previous_->state() != JoinState::accepted || previous_->is_silent(now)) {
        return false;
    }
    std::swap(join_, *previous_);
    if (!merge_ || merge_->is_searching()) {
        leave_previous();
        if (merge_) {
            merge_->stay();  // the content of the place we go back to was handed on all the time
        }
    } else {
        // It was not any more: we move once again, from the place that we had come to.
        merge_->restart(now);
        merge_->open_new(now);
        if (previous_->state() != JoinState::accepted) {
            leave_previous();
        }
    }
    join_.confirm(now);
    set_state(ConsumerState::receiving);
    return true;
}

void ConsumerImpl::give_flow_up() {
    send_leave();
    set_state(ConsumerState::waiting);
}

void ConsumerImpl::set_state(ConsumerState state) {
    const std::lock_guard lock(mutex_);
    if (error_) {
        return;
    }
    has_flow_ = has_flow_ || state == ConsumerState::receiving;
    status_.state = state;
    if (state == ConsumerState::waiting) {
        status_.data_server.clear();
    } else {
        status_.data_server = to_string(join_.target().server);
    }
    if (state == ConsumerState::receiving) {
        status_.last_error.clear();
    }
}

void ConsumerImpl::on_desired(const DesiredConsuming& desired) {
    if (desired.state == DesiredConsuming::State::gone) {
        end({ErrorCode::not_found,
             fmt::format(
                 "stream '{}' is not there: {}{}",
                 options_.stream,
                 desired.reason,
                 desired.retry_after.count() == 0
                     ? std::string()
                     : fmt::format("; ask again in {}", format_duration(desired.retry_after)))});
        return;
    }
    const std::lock_guard lock(mutex_);
    status_.version = desired.version;
    status_.assigned_at = monotonic_now();
    status_.last_error = desired.reason;
    if (status_.state == ConsumerState::connecting) {
        status_.state = ConsumerState::waiting;
    }
    pending_ = desired;
    has_news_ = true;
    wake_.set();
}

milliseconds ConsumerImpl::on_request() {
    const std::lock_guard lock(mutex_);
    const MonotonicTime now = monotonic_now();
    status_.requested_at = now;
    if (!wait_until_) {
        wait_until_ = time_after(now, options_.wait);
    }
    if (*wait_until_ == MonotonicTime::max()) {
        return milliseconds::max();
    }
    const auto left = std::chrono::ceil<milliseconds>(*wait_until_ - now);
    return std::max(left, has_flow_ ? kWaitWithFlow : milliseconds{0});
}

void ConsumerImpl::end(const Error& error) {
    const std::lock_guard lock(mutex_);
    if (!error_) {
        error_ = error;
        status_.state = ConsumerState::ended;
        status_.last_error = error.message;
        status_.data_server.clear();
        has_news_ = true;
        wake_.set();
    }
}

}  // namespace

Result<std::unique_ptr<Consumer>> Consumer::open(const ConsumerOptions& options) {
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
    Result<UniqueFd> socket = open_udp_socket({.family = address_family(*bind),
                                               .local = {*bind, 0},
                                               .receive_buffer_bytes = options.receive_buffer_bytes,
                                               .send_buffer_bytes = 0,
                                               .stamps = true});
    if (!socket) {
        return socket.error();
    }
    auto consumer = std::make_unique<ConsumerImpl>(options, std::move(socket.value()));
    if (!consumer->is_usable()) {
        return system_error("cannot open an eventfd", EMFILE);
    }
    return std::unique_ptr<Consumer>(std::move(consumer));
}

}  // namespace penstock
