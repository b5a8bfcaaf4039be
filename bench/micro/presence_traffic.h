#pragma once

#include "presence/core.h"
#include "presence/state.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace penstock::bench {

/// What the presence core is asked to do, apart by kind, because their costs differ.
enum class EventWork : std::uint8_t {
    load_report,       // of a data server, with its streams' loads
    stream_report,     // a consumer joined or left, a publisher was accepted
    applied,           // a data server opened or closed a stream
    publisher_hello,   // a publish request, or its session again
    publisher_report,  // START or STOP was acknowledged
    consumer_request,  // with what follows from it: an assignment, a placement
    heartbeat,         // of a publisher or consumer
    session,           // opened, or broken off
    tick,              // what falls due; not counted among the events, but its time is
};
inline constexpr std::array kEventWorkNames{"load_report",
                                            "stream_report",
                                            "applied",
                                            "publisher_hello",
                                            "publisher_report",
                                            "consumer_request",
                                            "heartbeat",
                                            "session",
                                            "tick"};

struct WorkCount {
    std::uint64_t events = 0;
    std::uint64_t cycles = 0;  // of the TSC, inside step(), whoever else had the core meanwhile
};

struct TrafficSize {
    std::size_t servers = 0;
    std::size_t streams = 0;
    std::size_t consumers = 0;
};

/// Bytes of the core's State by what it holds, each alone.
struct CoreMemory {
    double per_server = 0;
    double per_publisher = 0;    // its session and its stream, waiting
    double per_open_stream = 0;  // what a stream on a data server takes beyond that
    double per_consumer = 0;
};

/// The presence core with peers around it that behave: data servers report at 10 Hz and do what
/// they are told, publishers of `streams` streams beat once a second and obey, consumers hop from
/// stream to stream. Its clock is virtual: a slice is one millisecond of all that.
class PresenceTraffic {
  public:
    /// Fills the tables: every data server is attached, every stream has its publisher, waiting;
    /// every consumer has asked for a stream, so that those are open and transmitting.
    explicit PresenceTraffic(const TrafficSize& size);

    /// One millisecond. Returns: the time step() had the core.
    std::chrono::nanoseconds run_slice();

    [[nodiscard]] const std::array<WorkCount, kEventWorkNames.size()>& work() const noexcept {
        return work_;
    }
    [[nodiscard]] const CoreMemory& memory() const noexcept { return memory_; }
    /// "" or what is not as it must be after all that was asked.
    [[nodiscard]] std::string objection() const;

  private:
    struct OpenStream {
        control::DesiredStream desired;
        Endpoint endpoint;
        PeerId publisher;
        std::vector<control::ConsumerFlow> flows;
        std::uint64_t packets = 0;
    };
    struct Server {
        std::string name;
        presence::SessionId session;
        std::uint64_t generation = 0;
        std::uint16_t next_port = 10'000;
        std::unordered_map<std::uint64_t, OpenStream> open;
    };
    struct Publisher {
        presence::SessionId session;
        std::string stream;
        std::size_t server = 0;  // where it was told to transmit to
    };
    struct Consumer {
        presence::SessionId session;
        PeerId id;
        std::size_t stream = 0;
        std::optional<std::size_t> server;  // where its flow is
    };
    enum class PeerKind : std::uint8_t { server, publisher, consumer };
    struct Peer {
        PeerKind kind = PeerKind::server;
        std::size_t index = 0;
    };

    void give(EventWork kind, presence::Event event) {
        events_.emplace_back(kind, std::move(event));
    }
    /// Steps through all events, then through what peers answer, until nobody has anything to say.
    void settle();
    void step_through();
    presence::SessionId open_session(PeerKind kind, std::size_t index);
    void close_session(presence::SessionId session);
    [[nodiscard]] Peer peer_of(presence::SessionId session) const;
    void attach(std::size_t index);
    void publish(std::size_t index, std::uint64_t publisher);
    void request(std::size_t index);
    void leave(std::size_t index);
    void report_load(std::size_t index);
    void report_stream(std::size_t server, std::uint64_t stream);
    void react(const presence::ToDataServer& action);
    void react(const presence::ToPublisher& action);
    void react(const presence::ToConsumer& action);
    void react(const presence::SendHeartbeats& /*action*/) {}
    void react(const presence::CloseSession& /*action*/) {}
    void react(const presence::ToOperator& /*action*/) {}
    void react(const presence::StoreFacts& action);
    void beat(PeerKind kind, std::size_t index);
    void pass(std::size_t slices);
    std::size_t draw(std::size_t below) { return random_() % below; }

    TrafficSize size_;
    presence::State state_;
    MonotonicTime now_;
    std::mt19937_64 random_{1};  // the same traffic in every run
    std::uint64_t slice_ = 0;
    std::chrono::nanoseconds slice_time_{0};
    presence::SessionIds ids_;
    std::uint64_t peers_ = 1'000'000'000;
    std::vector<Peer> by_session_;  // by its place
    std::vector<Server> servers_;
    std::unordered_map<std::string, std::size_t> server_index_;
    std::vector<Publisher> publishers_;
    std::vector<std::uint64_t> stream_ids_;
    std::vector<Consumer> consumers_;
    std::vector<std::pair<EventWork, presence::Event>> events_;
    std::vector<presence::Action> actions_;
    std::vector<presence::Action> answered_;
    std::array<WorkCount, kEventWorkNames.size()> work_{};
    CoreMemory memory_;
};

}  // namespace penstock::bench
