#include "data_server/presence_session.h"

#include "base/clock.h"
#include "base/log.h"
#include "presence.grpc.pb.h"
#include "rpc/convert.h"
#include "rpc/presence_turns.h"
#include "rpc/tls.h"

#include <fmt/format.h>
#include <grpc/support/time.h>
#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <random>
#include <sys/eventfd.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>

namespace penstock {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kBackoffFirst{100};
constexpr milliseconds kBackoffMost{2'000};
constexpr milliseconds kWelcomeWithin{2'000};  // once the connection stands
/// For its name and a connection to one of the addresses behind that.
constexpr milliseconds kConnectingMost{2'000};
constexpr milliseconds kConnectingMostOfTheOnlyOne{10'000};

enum class Tag : std::uintptr_t { connected = 1, read, written, finished, woken };

void* tag_of(Tag tag) noexcept {
    return reinterpret_cast<void*>(static_cast<std::uintptr_t>(tag));  // NOLINT: gRPC's own idiom
}

grpc::ChannelArguments channel_arguments(milliseconds connection_within) {
    grpc::ChannelArguments arguments;
    // gRPC takes the longer of the two for the time that a connection may take.
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS,
                     static_cast<int>(connection_within.count()));
    // Liveness is the load report's matter; HTTP/2 pings find a peer that vanished without a word.
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 1'000);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 1'500);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    // Backing off is ours: each attempt is a channel of its own.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    arguments.SetMaxReceiveMessageSize(control::kMessageBytesMax);
    return arguments;
}

std::uint64_t monotonic_ms() {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<milliseconds>(monotonic_now().time_since_epoch()).count());
}

/// What presence said, for the control thread.
DownMessage down_message(control::DataServerReply reply, const std::string& address) {
    if (const auto* terms = std::get_if<control::DataServerWelcome>(&reply)) {
        return Welcome{address, terms->epoch, terms->ticket_key_id, TicketKey{terms->ticket_key}};
    }
    return std::get<StreamSet>(std::move(reply));
}

}  // namespace

/// Everything the thread works on. `mutex` guards what both threads touch.
struct PresenceSession::State {
    using Call = grpc::ClientAsyncReaderWriter<v1::DataServerUp, v1::DataServerDown>;

    PresenceSessionConfig config;
    UniqueFd event;
    grpc::CompletionQueue queue;
    std::thread thread;
    std::minstd_rand random;  // jitter only

    std::mutex mutex;
    std::deque<DownMessage> down;
    std::deque<UpMessage> up;
    std::optional<LoadReport> load;
    std::uint64_t epoch = 0;
    std::uint64_t generation = 0;
    bool welcome = false;
    bool stopping = false;
    std::string dropped;  // "": not
    bool alarm_set = false;
    grpc::Alarm alarm;

    // The thread's own, of the present session.
    std::unique_ptr<grpc::ClientContext> context;
    std::unique_ptr<Call> call;
    std::string address;
    v1::DataServerDown incoming;
    v1::DataServerUp outgoing;
    grpc::Status status;
    unsigned outstanding = 0;  // operations whose tag has not come back
    bool writing = false;
    bool ending = false;
    bool was_open = false;    // a connection stood
    bool was_silent = false;  // longer than it may be
    bool was_welcome = false;
    std::chrono::system_clock::time_point answer_by;
    std::string reason;  // why it ended, if we ended it
    milliseconds retry_after{0};
    std::optional<control::PresenceTurns> turns;

    void run();
    void session();
    void talk();
    std::string why_it_ended();
    void pause(std::chrono::system_clock::time_point until);
    void on_event(Tag tag, bool ok);
    void on_read();
    void on_reject(const control::Reject& reject);
    void write_next();
    void end(const std::string& why);
    void hand_down(DownMessage message);
    void wake();
    bool is_stopping() {
        const std::lock_guard lock(mutex);
        return stopping;
    }
};

void PresenceSession::State::run() {
    milliseconds backoff = kBackoffFirst;
    while (!is_stopping()) {
        address = turns->next(monotonic_now());
        if (!turns->was_named()) {
            retry_after =
                milliseconds{0};  // else of whoever named it, lest it is the one that died
        }
        session();
        backoff = next_backoff(backoff, was_welcome, retry_after.count() > 0);
        milliseconds length{0};
        if (!turns->is_at_once()) {
            std::uniform_int_distribution<milliseconds::rep> jitter(backoff.count() / 2,
                                                                    backoff.count());
            length = retry_after.count() > 0 ? std::min(retry_after, kBackoffMost)
                                             : milliseconds{jitter(random)};
        }
        const auto until = std::chrono::system_clock::now() + length;
        hand_down(Detached{fmt::format("presence {}: {}", address, why_it_ended())});
        pause(until);
    }
}

/// One session, from dialling to its end.
void PresenceSession::State::session() {
    was_open = was_silent = was_welcome = false;
    reason.clear();
    const auto credentials = control::channel_credentials(config.tls);
    if (!credentials) {
        reason = credentials.error().message;
        return;
    }
    const MonotonicTime began = monotonic_now();
    const auto channel = grpc::CreateCustomChannel(
        address, *credentials, channel_arguments(turns->connection_within()));
    const auto stub = v1::DataServers::NewStub(channel);
    context = std::make_unique<grpc::ClientContext>();
    writing = true;  // the connection itself: nothing is written before it stands
    ending = false;
    status = grpc::Status::OK;
    {
        const std::lock_guard lock(mutex);
        dropped.clear();  // meant for the session before
    }
    outstanding = 1;
    call = stub->AsyncSession(context.get(), &queue, tag_of(Tag::connected));
    talk();
    call.reset();
    context.reset();
    // gRPC's clock is not quite ours.
    const milliseconds connected_within = turns->connection_within();
    if (!was_open && reason.empty() && monotonic_now() - began >= connected_within * 9 / 10) {
        was_silent = true;
        reason = fmt::format("no connection within {} ms ({})",
                             connected_within.count(),
                             control::last_words(status));
    }
    if (was_silent) {
        turns->on_silence(monotonic_now());
    }
}

/// Until gRPC has let go of everything.
void PresenceSession::State::talk() {
    const milliseconds most = turns->has_others() ? kConnectingMost : kConnectingMostOfTheOnlyOne;
    answer_by = std::chrono::system_clock::now() + most;
    while (outstanding > 0) {
        void* tag = nullptr;
        bool ok = false;
        const auto outcome = was_welcome || ending
                                 ? (queue.Next(&tag, &ok) ? grpc::CompletionQueue::GOT_EVENT
                                                          : grpc::CompletionQueue::SHUTDOWN)
                                 : queue.AsyncNext(&tag, &ok, answer_by);
        if (outcome == grpc::CompletionQueue::TIMEOUT) {
            was_silent = true;
            end(was_open ? "it did not welcome us within 2 s"
                         : fmt::format("no connection within {} s", most.count() / 1000));
            continue;
        }
        const auto which = static_cast<Tag>(reinterpret_cast<std::uintptr_t>(tag));
        outstanding -= which == Tag::woken ? 0 : 1;
        on_event(which, ok);
    }
}

/// May ask the other end, which does not take long: it was not silent.
std::string PresenceSession::State::why_it_ended() {
    if (!reason.empty()) {
        return reason;
    }
    if (status.error_message().empty()) {
        return "it closed the session";
    }
    return is_stopping() ? "stopping" : control::why_failed(status, address, config.tls);
}

/// Waits, but not when the process is to stop.
void PresenceSession::State::pause(std::chrono::system_clock::time_point until) {
    void* tag = nullptr;
    bool ok = false;
    while (!is_stopping() &&
           queue.AsyncNext(&tag, &ok, until) == grpc::CompletionQueue::GOT_EVENT) {
        const std::lock_guard lock(mutex);
        alarm_set = false;
    }
}

void PresenceSession::State::on_event(Tag tag, bool ok) {
    switch (tag) {
        case Tag::connected: {
            if (!ok || ending) {
                return end({});
            }
            was_open = true;
            answer_by = std::chrono::system_clock::now() + kWelcomeWithin;
            const std::lock_guard lock(mutex);
            config.hello.epoch_seen = epoch;
            config.hello.applied_generation = generation;
            config.hello.monotonic_ms = monotonic_ms();
            outgoing = control::to_proto(control::DataServerMessage(config.hello));
            outstanding += 2;
            call->Write(outgoing, tag_of(Tag::written));
            call->Read(&incoming, tag_of(Tag::read));
            return;
        }
        case Tag::read:
            return ok ? on_read() : end({});
        case Tag::written:
            writing = false;
            return ok ? write_next() : end({});
        case Tag::woken: {
            {
                const std::lock_guard lock(mutex);
                alarm_set = false;
                if (stopping || !dropped.empty()) {
                    reason = stopping ? "stopping" : dropped;
                    dropped.clear();
                }
            }
            return reason.empty() ? write_next() : end(reason);
        }
        case Tag::finished:
            return;
    }
}

void PresenceSession::State::on_read() {
    if (ending) {
        return;
    }
    auto reply = control::from_proto(incoming);
    if (!reply) {
        return end(reply.error().message);
    }
    if (const auto* reject = std::get_if<control::Reject>(&*reply)) {
        return on_reject(*reject);
    }
    if (std::holds_alternative<control::DataServerWelcome>(*reply)) {
        retry_after = milliseconds{0};
        was_welcome = true;
        turns->on_welcome();
        const std::lock_guard lock(mutex);
        welcome = true;
    }
    hand_down(down_message(std::move(reply).value(), address));
    ++outstanding;
    call->Read(&incoming, tag_of(Tag::read));
}

void PresenceSession::State::on_reject(const control::Reject& reject) {
    retry_after = milliseconds{reject.retry_after_ms};
    turns->on_refusal(reject.leader, monotonic_now());
    end("it rejects us: " + reject.reason);
}

/// One write is in flight at a time. Load goes before the rest: it is our heartbeat.
void PresenceSession::State::write_next() {
    if (writing || ending) {
        return;
    }
    const std::lock_guard lock(mutex);
    if (!welcome) {
        return;
    }
    if (load) {
        outgoing =
            control::to_proto(control::DataServerMessage(*std::exchange(load, std::nullopt)));
    } else if (!up.empty()) {
        outgoing = std::visit(
            [](auto& message) {
                return control::to_proto(control::DataServerMessage(std::move(message)));
            },
            up.front());
        up.pop_front();
    } else {
        return;
    }
    writing = true;
    ++outstanding;
    call->Write(outgoing, tag_of(Tag::written));
}

/// Ends the session, once; Tag::finished follows when gRPC has let go of everything.
void PresenceSession::State::end(const std::string& why) {
    if (std::exchange(ending, true)) {
        return;
    }
    reason = why;
    {
        const std::lock_guard lock(mutex);
        welcome = false;
        up.clear();
        load.reset();
    }
    if (!why.empty()) {
        context->TryCancel();
    }
    ++outstanding;
    call->Finish(&status, tag_of(Tag::finished));
}

void PresenceSession::State::hand_down(DownMessage message) {
    {
        const std::lock_guard lock(mutex);
        if (down.size() >= kMessagesMax) {
            dropped = "its messages came faster than they were obeyed";
            wake();
            return;
        }
        down.push_back(std::move(message));
    }
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(event.get(), &one, sizeof(one));
}

/// Makes the thread look at what is new. Called with `mutex` held.
void PresenceSession::State::wake() {
    if (!std::exchange(alarm_set, true)) {
        alarm.Set(&queue, gpr_now(GPR_CLOCK_MONOTONIC), tag_of(Tag::woken));
    }
}

milliseconds next_backoff(milliseconds backoff, bool was_welcome, bool answered) noexcept {
    return was_welcome || answered ? kBackoffFirst : std::min(backoff * 2, kBackoffMost);
}

Result<std::unique_ptr<PresenceSession>> PresenceSession::start(PresenceSessionConfig config) {
    auto state = std::make_unique<State>();
    state->config = std::move(config);
    state->event = UniqueFd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!state->event) {
        return Error{ErrorCode::system,
                     fmt::format("cannot make an event descriptor: {}",
                                 std::generic_category().message(errno))};
    }
    state->turns.emplace(state->config.addresses);
    state->random.seed(static_cast<std::minstd_rand::result_type>(state->config.hello.boot_id));
    State* raw = state.get();
    state->thread = std::thread([raw] { raw->run(); });
    return std::unique_ptr<PresenceSession>(new PresenceSession(std::move(state)));
}

PresenceSession::PresenceSession(std::unique_ptr<State> state) : state_(std::move(state)) {}

PresenceSession::~PresenceSession() {
    {
        const std::lock_guard lock(state_->mutex);
        state_->stopping = true;
        state_->wake();
    }
    state_->thread.join();
    state_->queue.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (state_->queue.Next(&tag, &ok)) {
    }
}

int PresenceSession::fd() const noexcept { return state_->event.get(); }

std::deque<DownMessage> PresenceSession::receive() {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t bytes = ::read(state_->event.get(), &count, sizeof(count));
    const std::lock_guard lock(state_->mutex);
    return std::exchange(state_->down, {});
}

void PresenceSession::send(UpMessage message) {
    const std::lock_guard lock(state_->mutex);
    if (!state_->welcome) {
        return;
    }
    if (state_->up.size() >= kMessagesMax) {
        state_->dropped = "it does not read what we report";
    } else {
        state_->up.push_back(std::move(message));
    }
    state_->wake();
}

void PresenceSession::send_load(const LoadReport& report) {
    const std::lock_guard lock(state_->mutex);
    if (state_->welcome) {
        state_->load = report;
        state_->wake();
    }
}

void PresenceSession::set_position(std::uint64_t epoch, std::uint64_t generation) {
    const std::lock_guard lock(state_->mutex);
    state_->epoch = epoch;
    state_->generation = generation;
}

void PresenceSession::drop(const std::string& reason) {
    const std::lock_guard lock(state_->mutex);
    state_->dropped = reason;
    state_->wake();
}

}  // namespace penstock
