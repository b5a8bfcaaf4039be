#include "presence/peer_service.h"

#include "base/check.h"
#include "presence.grpc.pb.h"
#include "rpc/convert.h"
#include "rpc/tls.h"

#include <fmt/format.h>
#include <google/protobuf/arena.h>
#include <grpc/grpc_security_constants.h>
#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <unordered_map>
#include <utility>

namespace penstock::presence {
namespace {

constexpr std::chrono::seconds kClosingPatience{2};
// Load reports of one data server: as many may come at once, after a hold-up of several seconds,
// and so many a second in the long run, twice what is due. More wait in its connection.
constexpr double kLoadsAtOnce = 100;
constexpr double kLoadsPerSecond = 20;
constexpr unsigned kHeartbeatsUnsentMax = 10;  // then the peer does not read at all

// Which place of the outbox a message takes: what must leave first has the lower one.
constexpr std::size_t kOutboxPlaces = 4;

std::size_t place_of(const v1::DataServerDown& message) {
    return message.has_welcome() ? 0 : message.has_streams() ? 1 : 3;
}
std::size_t place_of(const v1::PublisherDown& message) {
    return message.has_desired() ? 1 : message.has_heartbeat() ? 2 : 3;
}
std::size_t place_of(const v1::ConsumerDown& message) {
    return message.has_assignment() ? 1 : message.has_heartbeat() ? 2 : 3;
}
constexpr std::size_t kHeartbeatPlace = 2;
constexpr std::size_t kRefusalPlace = 3;
static_assert(kRefusalPlace + 1 == kOutboxPlaces);

/// One call of a peer, as the core thread knows it. Thread of all calls: core.
class PeerCall {
  public:
    virtual ~PeerCall() = default;
    virtual void send(Action action) = 0;
    /// Ends the call once the outbox is empty.
    virtual void close(MonotonicTime now) = 0;
    virtual void read_next() = 0;
    /// Breaks the call off if it was closed long ago and the peer does not take the rest.
    virtual void cancel_if_stuck(MonotonicTime now) = 0;
};

/// What is different between the three kinds of peers. kIncomingBytes: what an ordinary message of
/// it takes in memory; of a data server a load report of several workers and ten streams.
struct DataServerCall {
    using Up = v1::DataServerUp;
    using Down = v1::DataServerDown;
    using Said = FromDataServer;
    using Say = ToDataServer;
    static constexpr SessionKind kKind = SessionKind::data_server;
    static constexpr std::size_t kIncomingBytes = 6144;
};
struct PublisherCall {
    using Up = v1::PublisherUp;
    using Down = v1::PublisherDown;
    using Said = FromPublisher;
    using Say = ToPublisher;
    static constexpr SessionKind kKind = SessionKind::publisher;
    static constexpr std::size_t kIncomingBytes = 512;
};
struct ConsumerCall {
    using Up = v1::ConsumerUp;
    using Down = v1::ConsumerDown;
    using Said = FromConsumer;
    using Say = ToConsumer;
    static constexpr SessionKind kKind = SessionKind::consumer;
    static constexpr std::size_t kIncomingBytes = 512;
};

bool is_load(const v1::DataServerUp& message) { return message.has_load(); }
template <typename Message>
bool is_load(const Message& /*of a client*/) {
    return false;
}

/// Whether a data server is who it says it is.
/// Errors: denied: its certificate does not bear the name that it says.
Result<void> check_name(const v1::DataServerUp& message, const grpc::ServerContextBase& call) {
    if (!message.has_hello()) {
        return {};
    }
    const std::string wanted = control::certified_name(message.hello().name());
    const std::shared_ptr<const grpc::AuthContext> caller = call.auth_context();
    std::string found;
    for (const grpc::string_ref& name : caller->FindPropertyValues(GRPC_PEER_URI_PROPERTY_NAME)) {
        found = std::string(name.data(), name.size());
        if (found == wanted) {
            return {};
        }
    }
    return Error{ErrorCode::denied,
                 fmt::format("the data server {} needs a certificate with the name {}; the one it "
                             "showed has {}",
                             message.hello().name(),
                             wanted,
                             found.empty() ? "none like it" : found)};
}
template <typename Message>
Result<void> check_name(const Message& /*of a client*/, const grpc::ServerContextBase& /*call*/) {
    return {};
}

/// When the next message is to be read of a peer that sends load reports.
class Pace {
  public:
    void note_load(MonotonicTime now) {
        const std::chrono::duration<double> passed = now - noted_at_;
        noted_at_ = now;
        left_ = std::min(kLoadsAtOnce, left_ + passed.count() * kLoadsPerSecond) - 1;
    }
    [[nodiscard]] std::chrono::milliseconds pause() const {
        return left_ >= 0 ? std::chrono::milliseconds(0)
                          : std::chrono::milliseconds(static_cast<int>(1'000 / kLoadsPerSecond));
    }

  private:
    double left_ = kLoadsAtOnce;
    MonotonicTime noted_at_ = monotonic_now();
};

/// The calls in progress. Thread: any.
class Calls {
  public:
    Calls(CoreThread& core, const CommandGate& gate, bool are_callers_certified)
        : core_(core), gate_(gate), are_callers_certified_(are_callers_certified) {}

    /// Returns: none if there are too many already.
    SessionId add(const std::shared_ptr<PeerCall>& call) {
        const std::lock_guard lock(mutex_);
        if (calls_.size() >= PeerService::kSessionsMax) {
            return {};
        }
        const SessionId id{++newest_};
        calls_.emplace(id, call);
        return id;
    }
    void remove(SessionId id) {
        const std::lock_guard lock(mutex_);
        calls_.erase(id);
    }
    [[nodiscard]] std::shared_ptr<PeerCall> find(SessionId id) const {
        const std::lock_guard lock(mutex_);
        const auto found = calls_.find(id);
        return found == calls_.end() ? nullptr : found->second;
    }
    [[nodiscard]] std::vector<std::shared_ptr<PeerCall>> all() const {
        const std::lock_guard lock(mutex_);
        std::vector<std::shared_ptr<PeerCall>> calls;
        calls.reserve(calls_.size());
        for (const auto& [id, call] : calls_) {
            calls.push_back(call);
        }
        return calls;
    }

    [[nodiscard]] CoreThread& core() noexcept { return core_; }
    [[nodiscard]] ByteCounters& bytes() noexcept { return bytes_; }
    [[nodiscard]] bool are_callers_certified() const noexcept { return are_callers_certified_; }
    [[nodiscard]] bool may_command() const noexcept { return gate_.is_open(BootClock::now()); }

  private:
    CoreThread& core_;
    const CommandGate& gate_;
    const bool are_callers_certified_;
    ByteCounters bytes_;
    mutable std::mutex mutex_;
    std::unordered_map<SessionId, std::shared_ptr<PeerCall>, IdHash> calls_;
    std::uint64_t newest_ = 0;
};

/// A place for one message after another, whose parts are not allocated and freed one by one.
template <typename Message, std::size_t Bytes>
class Incoming {
  public:
    Incoming() : arena_(block_.data(), block_.size()) {}

    /// An empty one. The one before is gone.
    Message& renew() {
        arena_.Reset();
        message_ = google::protobuf::Arena::CreateMessage<Message>(&arena_);
        return *message_;
    }
    [[nodiscard]] const Message& get() const noexcept { return *message_; }

  private:
    alignas(std::max_align_t) std::array<char, Bytes> block_;
    google::protobuf::Arena arena_;  // goes on beyond the block if it must
    Message* message_ = nullptr;
};

/// Reactions come on gRPC's threads, sends on the core thread; `mutex_` lies between. gRPC never
/// runs a reaction inside StartRead, StartWrite or Finish of a thread that is not its own.
template <typename Kind>
class PeerReactor final : public PeerCall,
                          public grpc::ServerBidiReactor<typename Kind::Up, typename Kind::Down>,
                          public std::enable_shared_from_this<PeerReactor<Kind>> {
  public:
    PeerReactor(Calls& calls, grpc::CallbackServerContext& context)
        : calls_(calls), context_(context) {}

    /// The reactor of a new call; it frees itself when the call is done.
    static PeerReactor* open(Calls& calls, grpc::CallbackServerContext& context) {
        auto call = std::make_shared<PeerReactor>(calls, context);
        call->self_ = call;
        call->id_ = calls.add(call);
        if (!call->id_ || !calls.core().post(SessionOpened{call->id_, Kind::kKind})) {
            call->is_finished_ = true;
            call->Finish({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many sessions"});
        } else {
            call->StartRead(&call->incoming_.renew());
        }
        return call.get();
    }

    void send(Action action) override {
        typename Kind::Down message =
            control::to_proto(std::get<typename Kind::Say>(action).message);
        const std::size_t place = place_of(message);
        const std::lock_guard lock(mutex_);
        if (is_closing_ || is_finished_) {
            return;
        }
        if (place == kHeartbeatPlace && outbox_[place].has_value() &&
            ++heartbeats_unsent_ >= kHeartbeatsUnsentMax) {
            context_.TryCancel();
        }
        outbox_[place] = std::move(message);
        write_next();
    }

    void close(MonotonicTime now) override {
        const std::lock_guard lock(mutex_);
        is_closing_ = true;
        closing_since_ = now;
        finish_if_idle(grpc::Status::OK);
    }

    void read_next() override {
        const std::lock_guard lock(mutex_);
        if (const auto pause = pace_.pause(); pause.count() == 0) {
            read_now();
        } else {
            if (!alarm_.has_value()) {
                alarm_.emplace();
            }
            alarm_->Set(std::chrono::system_clock::now() + pause,
                        [weak = this->weak_from_this()](bool) {
                            if (const auto call = weak.lock()) {
                                const std::lock_guard held(call->mutex_);
                                call->read_now();
                            }
                        });
        }
    }

    void cancel_if_stuck(MonotonicTime now) override {
        const std::lock_guard lock(mutex_);
        if (is_closing_ && !is_finished_ && now >= closing_since_ + kClosingPatience) {
            context_.TryCancel();
        }
    }

    void OnReadDone(bool ok) override {
        if (!ok) {
            end(grpc::Status::OK);
            return;
        }
        const typename Kind::Up& incoming = incoming_.get();
        calls_.bytes().received += incoming.ByteSizeLong();
        if (is_load(incoming)) {
            const std::lock_guard lock(mutex_);
            pace_.note_load(monotonic_now());
        }
        auto message = control::from_proto(incoming);
        if (calls_.are_callers_certified() && message) {
            if (auto checked = check_name(incoming, context_); !checked) {
                message = std::move(checked).error();
            }
        }
        const bool is_queued =
            message ? calls_.core().post(typename Kind::Said{id_, std::move(*message)})
                    : calls_.core().post(Malformed{id_, message.error().message});
        if (!is_queued) {
            end({grpc::StatusCode::RESOURCE_EXHAUSTED, "presence is overloaded"});
        }
    }

    void OnWriteDone(bool ok) override {
        if (!ok) {
            end(grpc::Status::CANCELLED);
        }
        const std::lock_guard lock(mutex_);
        is_writing_ = false;
        if (place_of(outgoing_) == kHeartbeatPlace) {
            heartbeats_unsent_ = 0;
        }
        write_next();
        finish_if_idle(ok ? grpc::Status::OK : grpc::Status::CANCELLED);
    }

    void OnCancel() override { end(grpc::Status::CANCELLED); }

    void OnDone() override {
        if (id_) {
            calls_.core().post(SessionClosed{id_});
            calls_.remove(id_);
        }
        self_.reset();  // the core thread may hold it for a moment longer
    }

  private:
    void read_now() {
        if (!is_closing_ && !is_finished_) {
            this->StartRead(&incoming_.renew());
        }
    }

    /// The peer is gone or gets nothing more: forgets the outbox and finishes.
    void end(const grpc::Status& status) {
        const std::lock_guard lock(mutex_);
        is_closing_ = true;
        outbox_ = {};
        finish_if_idle(status);
    }

    void write_next() {
        if (is_writing_ || is_finished_) {
            return;
        }
        if (!calls_.may_command()) {
            // What waited was said by a leader who may be none any more.
            std::fill(outbox_.begin(), outbox_.begin() + kRefusalPlace, std::nullopt);
        }
        for (std::optional<typename Kind::Down>& place : outbox_) {
            if (place.has_value()) {
                outgoing_ = std::move(*place);
                place.reset();
                is_writing_ = true;
                calls_.bytes().sent += outgoing_.ByteSizeLong();
                this->StartWrite(&outgoing_);
                return;
            }
        }
    }

    void finish_if_idle(const grpc::Status& status) {
        if (is_closing_ && !is_writing_ && !is_finished_) {
            is_finished_ = true;
            this->Finish(status);
        }
    }

    Calls& calls_;
    grpc::CallbackServerContext& context_;
    SessionId id_;
    std::shared_ptr<PeerReactor> self_;
    Incoming<typename Kind::Up, Kind::kIncomingBytes> incoming_;
    typename Kind::Down outgoing_;

    std::mutex mutex_;  // guards all below, and outgoing_ while nothing is being written
    std::array<std::optional<typename Kind::Down>, kOutboxPlaces> outbox_;
    bool is_writing_ = false;
    bool is_closing_ = false;
    bool is_finished_ = false;
    unsigned heartbeats_unsent_ = 0;
    Pace pace_;
    std::optional<grpc::Alarm> alarm_;  // once the peer has to be slowed down
    MonotonicTime closing_since_ = MonotonicTime::max() - kClosingPatience;
};

class DataServers final : public v1::DataServers::CallbackService {
  public:
    explicit DataServers(Calls& calls) : calls_(calls) {}
    grpc::ServerBidiReactor<v1::DataServerUp, v1::DataServerDown>* Session(
        grpc::CallbackServerContext* context) override {
        return PeerReactor<DataServerCall>::open(calls_, *context);
    }

  private:
    Calls& calls_;
};

class Publishers final : public v1::Publishers::CallbackService {
  public:
    explicit Publishers(Calls& calls) : calls_(calls) {}
    grpc::ServerBidiReactor<v1::PublisherUp, v1::PublisherDown>* Session(
        grpc::CallbackServerContext* context) override {
        return PeerReactor<PublisherCall>::open(calls_, *context);
    }

  private:
    Calls& calls_;
};

class Consumers final : public v1::Consumers::CallbackService {
  public:
    explicit Consumers(Calls& calls) : calls_(calls) {}
    grpc::ServerBidiReactor<v1::ConsumerUp, v1::ConsumerDown>* Session(
        grpc::CallbackServerContext* context) override {
        return PeerReactor<ConsumerCall>::open(calls_, *context);
    }

  private:
    Calls& calls_;
};

}  // namespace

struct PeerService::Shared {
    Shared(CoreThread& core, const CommandGate& gate, bool are_callers_certified)
        : calls(core, gate, are_callers_certified),
          data_servers(calls),
          publishers(calls),
          consumers(calls) {}

    Calls calls;
    DataServers data_servers;
    Publishers publishers;
    Consumers consumers;
};

PeerService::PeerService(CoreThread& core, const CommandGate& gate, bool are_callers_certified)
    : shared_(std::make_unique<Shared>(core, gate, are_callers_certified)) {}
PeerService::~PeerService() = default;

std::vector<grpc::Service*> PeerService::services() {
    return {&shared_->data_servers, &shared_->publishers, &shared_->consumers};
}

const ByteCounters& PeerService::bytes() const noexcept { return shared_->calls.bytes(); }

void PeerService::perform(Action action) {
    const SessionId session = std::visit(
        [](const auto& what) {
            if constexpr (requires { what.session; }) {
                return what.session;
            } else {
                return SessionId{};  // no peer's: the core thread keeps those
            }
        },
        action);
    const std::shared_ptr<PeerCall> call = shared_->calls.find(session);
    if (call == nullptr) {
        return;  // it ended meanwhile; its SessionClosed is in the queue
    }
    if (std::holds_alternative<CloseSession>(action)) {
        call->close(monotonic_now());
    } else {
        call->send(std::move(action));
    }
}

void PeerService::resume(SessionId session) {
    if (const std::shared_ptr<PeerCall> call = shared_->calls.find(session)) {
        call->read_next();
    }
}

void PeerService::sweep(MonotonicTime now) {
    for (const std::shared_ptr<PeerCall>& call : shared_->calls.all()) {
        call->cancel_if_stuck(now);
    }
}

}  // namespace penstock::presence
