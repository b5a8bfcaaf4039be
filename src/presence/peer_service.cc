#include "presence/peer_service.h"

#include "presence.pb.h"
#include "presence/session_table.h"
#include "rpc/convert.h"
#include "rpc/tls.h"

#include <fmt/format.h>
#include <google/protobuf/arena.h>
#include <grpcpp/support/status.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace penstock::presence {
namespace {

constexpr std::chrono::seconds kClosingPatience{2};
// Load reports of one data server: as many may come at once, after a hold-up of several seconds,
// and so many a second in the long run, twice what is due. More wait in its connection.
constexpr double kLoadsAtOnce = 100;
constexpr double kLoadsPerSecond = 20;
constexpr unsigned kHeartbeatsUnsentMax = 10;    // then the peer does not read at all
constexpr std::size_t kArenaBytes = 16U << 10U;  // more than nearly all messages take

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

/// What is different between the three kinds of peers.
struct DataServerCall {
    using Up = v1::DataServerUp;
    using Said = FromDataServer;
    using Say = ToDataServer;
    using Reply = control::DataServerReply;
    static constexpr SessionKind kKind = SessionKind::data_server;
};
struct PublisherCall {
    using Up = v1::PublisherUp;
    using Said = FromPublisher;
    using Say = ToPublisher;
    using Reply = control::PublisherReply;
    static constexpr SessionKind kKind = SessionKind::publisher;
};
struct ConsumerCall {
    using Up = v1::ConsumerUp;
    using Said = FromConsumer;
    using Say = ToConsumer;
    using Reply = control::ConsumerReply;
    static constexpr SessionKind kKind = SessionKind::consumer;
};

bool is_load(const v1::DataServerUp& message) { return message.has_load(); }
template <typename Message>
bool is_load(const Message& /*of a client*/) {
    return false;
}

/// Whether a data server is who it says it is.
/// Errors: denied: its certificate does not bear the name that it says.
Result<void> check_name(const v1::DataServerUp& message, const control::ServerCall& call) {
    if (!message.has_hello()) {
        return {};
    }
    const std::string wanted = control::certified_name(message.hello().name());
    const std::vector<std::string> found = call.peer_uris();
    if (std::ranges::find(found, wanted) != found.end()) {
        return {};
    }
    return Error{ErrorCode::denied,
                 fmt::format("the data server {} needs a certificate with the name {}; the one it "
                             "showed has {}",
                             message.hello().name(),
                             wanted,
                             found.empty() ? "none like it" : found.back())};
}
template <typename Message>
Result<void> check_name(const Message& /*of a client*/, const control::ServerCall& /*call*/) {
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
    [[nodiscard]] bool is_exceeded() const noexcept { return left_ < 0; }
    static constexpr std::chrono::milliseconds kPause{static_cast<int>(1'000 / kLoadsPerSecond)};

  private:
    double left_ = kLoadsAtOnce;
    MonotonicTime noted_at_ = monotonic_now();
};

/// A place for one message after another, whose parts are not allocated and freed one by one.
class Incoming {
  public:
    /// Owns: the message stays here until the next one. nullptr: these are not its bytes.
    template <typename Message>
    const Message* parse(std::string_view bytes) {
        arena_.Reset();
        auto* const message = google::protobuf::Arena::CreateMessage<Message>(&arena_);
        return message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) ? message
                                                                                     : nullptr;
    }

  private:
    alignas(std::max_align_t) std::array<char, kArenaBytes> block_{};
    google::protobuf::Arena arena_{block_.data(), block_.size()};  // goes on beyond it if it must
};

/// One call of a peer, as the core thread knows it.
class PeerCall {
  public:
    virtual ~PeerCall() = default;
    virtual void send(const Action& action) = 0;
    /// Not of a data server's call.
    virtual void beat() = 0;
    /// Ends the call once the outbox is empty.
    virtual void close(MonotonicTime now) = 0;
    /// Breaks the call off if it was closed long ago and the peer does not take the rest.
    virtual void cancel_if_stuck(MonotonicTime now) = 0;
};

}  // namespace

/// What all calls share.
struct PeerService::Shared {
    CoreThread& core;
    const CommandGate& gate;
    const bool are_callers_certified;
    ByteCounters bytes;
    Incoming incoming;
    SessionIds ids;
    std::unordered_map<SessionId, PeerCall*, IdHash> calls;

    template <typename Kind>
    std::unique_ptr<control::CallHandler> open(control::ServerCall& call);
};

namespace {

/// One session. `Shared`: PeerService's.
template <typename Kind, typename Shared>
class PeerSession final : public PeerCall, public control::CallHandler {
  public:
    PeerSession(Shared& shared, control::ServerCall& call, SessionId id)
        : shared_(shared), call_(call), id_(id) {}

    void send(const Action& action) override { say(std::get<typename Kind::Say>(action).message); }

    void beat() override {
        if constexpr (std::is_constructible_v<typename Kind::Reply, control::Heartbeat>) {
            say(control::Heartbeat{});
        }
    }

    void close(MonotonicTime now) override {
        is_closing_ = true;
        closing_since_ = now;
        call_.finish(grpc::Status::OK);
    }

    void cancel_if_stuck(MonotonicTime now) override {
        if (is_closing_ && now >= closing_since_ + kClosingPatience) {
            call_.cancel();
        }
    }

    void take(std::string_view bytes) override {
        using Up = typename Kind::Up;
        if (is_closing_) {
            return;
        }
        shared_.bytes.received += bytes.size();
        const auto* const incoming = shared_.incoming.template parse<Up>(bytes);
        if (incoming == nullptr) {
            end({grpc::StatusCode::INTERNAL, "this is no message of the protocol"});
            return;
        }
        if (is_load(*incoming)) {
            pace_.note_load(monotonic_now());
            if (pace_.is_exceeded()) {
                call_.pause(Pace::kPause);
            }
        }
        auto message = control::from_proto(*incoming);
        if (shared_.are_callers_certified && message) {
            if (auto checked = check_name(*incoming, call_); !checked) {
                message = std::move(checked).error();
            }
        }
        if (message) {
            shared_.core.take(typename Kind::Said{id_, std::move(*message)});
        } else {
            shared_.core.take(Malformed{id_, message.error().message});
        }
    }

    void end_of_messages() override { end(grpc::Status::OK); }

    bool give(std::string& out) override {
        if (!shared_.gate.is_open(BootClock::now())) {
            // What waited was said by a leader who may be none any more.
            std::fill(outbox_.begin(), outbox_.begin() + kRefusalPlace, std::string());
        }
        const auto next = std::ranges::find_if(
            outbox_, [](const std::string& message) { return !message.empty(); });
        if (next == outbox_.end()) {
            return false;
        }
        if (next == outbox_.begin() + kHeartbeatPlace) {
            heartbeats_unsent_ = 0;
        }
        shared_.bytes.sent += next->size();
        out += *next;
        next->clear();
        return true;
    }

    void closed() override {
        shared_.calls.erase(id_);
        shared_.core.take(SessionClosed{id_});
        shared_.ids.give_back(id_);
    }

  private:
    void say(const typename Kind::Reply& reply) {
        if (is_closing_) {
            return;
        }
        const auto message = control::to_proto(reply);
        const std::size_t place = place_of(message);
        if (place == kHeartbeatPlace && !outbox_[place].empty() &&
            ++heartbeats_unsent_ >= kHeartbeatsUnsentMax) {
            call_.cancel();
        }
        message.SerializeToString(&outbox_[place]);
        call_.wake();
    }

    /// The peer gets nothing more.
    void end(const grpc::Status& status) {
        is_closing_ = true;
        closing_since_ = monotonic_now();
        outbox_ = {};
        call_.finish(status);
    }

    Shared& shared_;
    control::ServerCall& call_;
    const SessionId id_;
    std::array<std::string, kOutboxPlaces> outbox_;  // as they travel; "": none
    bool is_closing_ = false;
    unsigned heartbeats_unsent_ = 0;
    Pace pace_;
    MonotonicTime closing_since_ = MonotonicTime::max() - kClosingPatience;
};

}  // namespace

template <typename Kind>
std::unique_ptr<control::CallHandler> PeerService::Shared::open(control::ServerCall& call) {
    if (calls.size() >= kSessionsMax) {
        call.finish({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many sessions"});
        return nullptr;
    }
    const SessionId id = ids.take();
    auto session = std::make_unique<PeerSession<Kind, Shared>>(*this, call, id);
    calls.emplace(id, session.get());
    core.take(SessionOpened{id, Kind::kKind});
    return session;
}

PeerService::PeerService(CoreThread& core, const CommandGate& gate, bool are_callers_certified)
    : shared_(new Shared{core, gate, are_callers_certified, {}, {}, {}, {}}) {}
PeerService::~PeerService() = default;

std::unique_ptr<control::CallHandler> PeerService::open(std::string_view method,
                                                        control::ServerCall& call) {
    if (method == "/penstock.v1.DataServers/Session") {
        return shared_->open<DataServerCall>(call);
    }
    if (method == "/penstock.v1.Publishers/Session") {
        return shared_->open<PublisherCall>(call);
    }
    if (method == "/penstock.v1.Consumers/Session") {
        return shared_->open<ConsumerCall>(call);
    }
    return nullptr;
}

const ByteCounters& PeerService::bytes() const noexcept { return shared_->bytes; }

void PeerService::perform(Action action) {
    if (const auto* const heartbeats = std::get_if<SendHeartbeats>(&action)) {
        for (const SessionId session : heartbeats->sessions) {
            if (const auto call = shared_->calls.find(session); call != shared_->calls.end()) {
                call->second->beat();
            }
        }
        return;
    }
    const SessionId session = std::visit(
        [](const auto& what) {
            if constexpr (requires { what.session; }) {
                return what.session;
            } else {
                return SessionId{};  // no peer's: the core thread keeps those
            }
        },
        action);
    const auto found = shared_->calls.find(session);
    if (found == shared_->calls.end()) {
        return;  // it has just ended
    }
    if (std::holds_alternative<CloseSession>(action)) {
        found->second->close(monotonic_now());
    } else {
        found->second->send(action);
    }
}

void PeerService::sweep(MonotonicTime now) {
    for (const auto& [id, call] : shared_->calls) {
        call->cancel_if_stuck(now);
    }
}

}  // namespace penstock::presence
