#include "client/presence_client.h"

#include "base/clock.h"
#include "client/presence_words.h"
#include "rpc/presence_turns.h"
#include "rpc/tls.h"

#include <fmt/format.h>
#include <grpc/support/log.h>
#include <grpcpp/alarm.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace penstock {
namespace {

using std::chrono::milliseconds;

constexpr int kMessageBytesMost = 256 * 1024;
constexpr milliseconds kHeartbeatInterval{1000};
constexpr milliseconds kSilenceMost{3000};  // of a session, and for its first answer
/// Of the only presence, for its name and a connection to one of the addresses behind that.
constexpr milliseconds kConnectingMost{10'000};

/// Operations of the completion queue.
enum class Operation : std::uintptr_t { start = 1, read, write, finish, wake };
void* tag_of(Operation operation) noexcept { return reinterpret_cast<void*>(operation); }

grpc::ChannelArguments channel_arguments(milliseconds connected_within) {
    grpc::ChannelArguments arguments;
    // Liveness is judged by our own heartbeats; HTTP/2 pings are the backstop.
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 5000);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 3000);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    // gRPC takes the longer of the two for the time that a connection may take.
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, static_cast<int>(connected_within.count()));
    // Each attempt has a channel of its own, whose pauses are ours: nothing is to be shared.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, 8192);
    arguments.SetMaxReceiveMessageSize(kMessageBytesMost);
    return arguments;
}

void silence_grpc() {
    static std::once_flag once;
    std::call_once(once, [] { gpr_set_log_function([](gpr_log_func_args*) {}); });
}

/// Keeps one session up for as long as it lives. Its thread alone touches gRPC; others only wake
/// it.
template <typename Words>
class SessionThread {
  public:
    template <typename... Arguments>
    explicit SessionThread(const PresenceAddresses& presence, Arguments&&... arguments)
        : presence_(presence),
          turns_(presence.addresses),
          words_(std::forward<Arguments>(arguments)...) {
        silence_grpc();
        thread_ = std::thread([this] { run(); });
    }

    ~SessionThread() {
        stopping_ = true;
        wake();
        thread_.join();
        queue_.Shutdown();
        void* tag = nullptr;
        bool ok = false;
        while (queue_.Next(&tag, &ok)) {  // takes out a last wake-up
        }
    }
    SessionThread(const SessionThread&) = delete;
    SessionThread& operator=(const SessionThread&) = delete;

    Words& words() noexcept { return words_; }

    /// Makes the session's thread look at the outbox. Thread: any.
    void wake() {
        const std::lock_guard lock(wake_mutex_);
        if (!std::exchange(wake_is_pending_, true)) {
            alarm_.Set(&queue_, gpr_now(GPR_CLOCK_MONOTONIC), tag_of(Operation::wake));
        }
    }

  private:
    using Up = typename Words::Up;
    using Down = typename Words::Down;

    enum class Waited { event, deadline };

    void run() {
        unsigned failures = 0;
        while (!stopping_ && !rejected_) {
            const std::string& address = turns_.next(monotonic_now());
            if (!turns_.was_named()) {
                // Else it is what the one said who named it, which may be the one that died.
                retry_after_ = milliseconds{0};
            }
            attempt(address);
            if (stopping_ || rejected_) {
                return;
            }
            failures = next_attempt(failures, was_up_, retry_after_.count() > 0);
            // All who were told the same do not come at the same time.
            const milliseconds length =
                turns_.is_at_once() ? milliseconds{0}
                                    : retry_after_ + reconnect_pause(failures, random_u64());
            const MonotonicTime until = monotonic_now() + length;
            const std::string why = why_it_ended(address);
            if (stopping_) {
                return;
            }
            words_.events().on_session(fmt::format("presence {}: {}; trying again", address, why),
                                       was_refused_ ? retry_after_ : milliseconds{0});
            pause(until);
        }
    }

    void pause(MonotonicTime until) {
        Operation operation{};
        bool ok = false;
        while (!stopping_ && monotonic_now() < until) {
            wait(until, operation, ok);
        }
    }

    /// Waits for the next event, until `until` at most. Wake-ups are taken care of here.
    Waited wait(MonotonicTime until, Operation& operation, bool& ok) {
        void* tag = nullptr;
        const auto left = std::chrono::ceil<std::chrono::microseconds>(until - monotonic_now());
        const gpr_timespec deadline = gpr_time_add(
            gpr_now(GPR_CLOCK_MONOTONIC),
            gpr_time_from_micros(std::max<std::int64_t>(left.count(), 0), GPR_TIMESPAN));
        if (queue_.AsyncNext(&tag, &ok, deadline) != grpc::CompletionQueue::GOT_EVENT) {
            return Waited::deadline;
        }
        operation = static_cast<Operation>(reinterpret_cast<std::uintptr_t>(tag));
        if (operation == Operation::wake) {
            const std::lock_guard lock(wake_mutex_);
            wake_is_pending_ = false;
        }
        return Waited::event;
    }

    /// One session with one presence, from dialling to its end.
    void attempt(const std::string& address) {
        was_up_ = was_refused_ = false;
        given_up_.clear();
        const auto credentials = control::channel_credentials(presence_.tls);
        if (!credentials) {
            given_up_ = credentials.error().message;
            return;
        }
        heard_at_ = monotonic_now();
        const auto channel = grpc::CreateCustomChannel(
            address, *credentials, channel_arguments(turns_.connection_within()));
        grpc::ClientContext context;
        call_ = Words::prepare(channel, context, queue_);
        call_->StartCall(tag_of(Operation::start));
        operations_ = 1;
        is_open_ = is_writing_ = is_ending_ = false;
        bool was_open = false;
        bool was_silent = false;
        bool is_cancelled = false;
        heartbeat_at_ = heard_at_ + kHeartbeatInterval;
        while (operations_ > 0) {
            was_open = was_open || is_open_;
            const milliseconds most =
                was_open || turns_.has_others() ? kSilenceMost : kConnectingMost;
            const MonotonicTime dead_at = heard_at_ + most;
            Operation operation{};
            bool ok = false;
            const MonotonicTime until = is_ending_ ? heard_at_ + std::chrono::hours{1}
                                        : is_open_ ? std::min(dead_at, heartbeat_at_)
                                                   : dead_at;
            const Waited waited = wait(until, operation, ok);
            if (waited == Waited::event && operation != Operation::wake) {
                --operations_;
                on_operation(operation, ok);
            }
            // Not before all that has come is taken: it may be we who were stopped.
            const bool is_silent =
                waited == Waited::deadline && !is_ending_ && monotonic_now() >= dead_at;
            if (is_silent && given_up_.empty()) {
                was_silent = true;
                given_up_ = fmt::format(
                    "no {} for {} s", was_open ? "answer" : "connection", most.count() / 1000);
            }
            if ((stopping_ || !given_up_.empty()) && !std::exchange(is_cancelled, true)) {
                context.TryCancel();
            }
            write_next();
        }
        call_.reset();
        // gRPC's clock is not quite ours.
        const milliseconds connected_within = turns_.connection_within();
        if (!was_open && given_up_.empty() &&
            monotonic_now() - heard_at_ >= connected_within * 9 / 10) {
            was_silent = true;
            given_up_ = fmt::format("no connection within {} ms ({})",
                                    connected_within.count(),
                                    control::last_words(status_));
        }
        if (was_silent) {
            turns_.on_silence(monotonic_now());
        }
    }

    /// May ask the other end, which does not take long: it was not silent.
    std::string why_it_ended(const std::string& address) const {
        if (!given_up_.empty() || stopping_) {
            return given_up_;
        }
        return status_.ok() ? "it ended the session"
                            : control::why_failed(status_, address, presence_.tls);
    }

    void on_operation(Operation operation, bool ok) {
        if (operation == Operation::finish) {
            return;
        }
        if (!ok) {
            end();
            return;
        }
        if (operation == Operation::start) {
            is_open_ = true;
            is_writing_ = true;
            heard_at_ = monotonic_now();
            ++operations_;
            up_ = words_.hello();
            call_->Write(up_, tag_of(Operation::write));
            read_next();
        } else if (operation == Operation::read) {
            on_message();
            read_next();
        } else if (operation == Operation::write) {
            is_writing_ = false;
        }
    }

    void on_message() {
        heard_at_ = monotonic_now();
        if (down_.has_reject()) {
            was_refused_ = true;
            retry_after_ = milliseconds{down_.reject().retry_after_ms()};
            rejected_ = retry_after_.count() == 0;
            given_up_ = "it refused us: " + down_.reject().reason();
            turns_.on_refusal(down_.reject().leader(), heard_at_);
            if (rejected_) {
                words_.events().on_rejected(down_.reject().reason());
            }
            return;
        }
        if (!std::exchange(was_up_, true)) {
            turns_.on_welcome();
            retry_after_ = milliseconds{0};
            words_.events().on_session({}, milliseconds{0});
        }
        words_.on_desired(down_);
    }

    void read_next() {
        if (!is_ending_) {
            ++operations_;
            call_->Read(&down_, tag_of(Operation::read));
        }
    }

    void write_next() {
        if (!is_open_ || is_writing_ || is_ending_) {
            return;
        }
        std::optional<Up> next = words_.next();
        if (!next && monotonic_now() >= heartbeat_at_) {
            next.emplace().mutable_heartbeat();
        }
        if (next) {
            heartbeat_at_ = monotonic_now() + kHeartbeatInterval;
            up_ = std::move(*next);
            is_writing_ = true;
            ++operations_;
            call_->Write(up_, tag_of(Operation::write));
        }
    }

    void end() {
        is_open_ = false;
        if (!std::exchange(is_ending_, true)) {
            ++operations_;
            call_->Finish(&status_, tag_of(Operation::finish));
        }
    }

    const PresenceAddresses presence_;
    control::PresenceTurns turns_;
    Words words_;
    grpc::CompletionQueue queue_;

    std::mutex wake_mutex_;  // guards the two below
    grpc::Alarm alarm_;
    bool wake_is_pending_ = false;
    std::atomic<bool> stopping_ = false;

    // The session's thread only.
    std::unique_ptr<typename Words::Call> call_;
    Up up_;
    Down down_;
    grpc::Status status_;
    int operations_ = 0;  // in flight
    bool is_open_ = false;
    bool is_writing_ = false;
    bool is_ending_ = false;
    bool was_up_ = false;       // it served us
    bool was_refused_ = false;  // it said that it does not, or no more
    bool rejected_ = false;
    std::string given_up_;  // why we end the session
    milliseconds retry_after_{0};
    MonotonicTime heard_at_{};
    MonotonicTime heartbeat_at_{};

    std::thread thread_;  // last: it uses all of the above
};

class PublisherSessionImpl final : public PublisherSession {
  public:
    PublisherSessionImpl(const PresenceAddresses& presence,
                         const PublishRequest& request,
                         PresenceEvents<DesiredPublishing>& events)
        : session_(presence, request, events) {}

    void report(const PublishingReport& report) override {
        session_.words().set_report(report);
        session_.wake();
    }

  private:
    SessionThread<PublisherWords> session_;
};

class ConsumerSessionImpl final : public ConsumerSession {
  public:
    ConsumerSessionImpl(const PresenceAddresses& presence,
                        std::uint64_t consumer_id,
                        const std::string& stream,
                        ConsumerEvents& events)
        : session_(presence, consumer_id, stream, events) {}

    void renew(std::uint64_t version) override {
        session_.words().set_renew(version);
        session_.wake();
    }

  private:
    SessionThread<ConsumerWords> session_;
};

}  // namespace

std::unique_ptr<PublisherSession> PublisherSession::open(
    const PresenceAddresses& presence,
    const PublishRequest& request,
    PresenceEvents<DesiredPublishing>& events) {
    return std::make_unique<PublisherSessionImpl>(presence, request, events);
}

std::unique_ptr<ConsumerSession> ConsumerSession::open(const PresenceAddresses& presence,
                                                       std::uint64_t consumer_id,
                                                       const std::string& stream,
                                                       ConsumerEvents& events) {
    return std::make_unique<ConsumerSessionImpl>(presence, consumer_id, stream, events);
}

}  // namespace penstock
