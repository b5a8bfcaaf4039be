#pragma once

#include "base/byte_order.h"
#include "presence/core.h"
#include "presence/queries.h"
#include "presence/state.h"
#include "wire/ticket.h"

#include <chrono>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::presence {

using namespace std::chrono_literals;

/// A stream as a scripted data server has it open.
struct OpenStream {
    control::DesiredStream desired;
    Endpoint endpoint;
    PeerId publisher;
    std::map<PeerId, control::ConsumerFlow> flows;
};

/// A data server that does what it is told, unless a test says otherwise.
struct ScriptedServer {
    std::string name;
    std::uint64_t boot_id = 1;
    double utilisation = 0.1;
    std::uint64_t link_bits_per_second = 10'000'000'000;
    std::uint32_t streams_max = 1000;
    std::uint64_t epoch_seen = 0;
    bool acknowledges = true;
    bool reports_load = true;
    std::vector<control::PortLoad> ports;
    std::vector<std::uint32_t> stuck_workers;
    std::set<std::string> refuses;  // names of streams

    SessionId session;  // none: away
    std::uint64_t generation = 0;
    std::uint16_t next_port = 20'000;
    std::map<StreamId, OpenStream> open;
    std::optional<control::DataServerWelcome> welcome;
    std::vector<control::StreamSet> sets;
    std::optional<control::Reject> rejected;
};

struct ScriptedPublisher {
    PeerId id;
    std::string stream;
    control::StartPolicy start = control::StartPolicy::publish;
    std::uint64_t max_bits_per_second = 0;
    std::uint32_t close_after_ms = 0;
    bool acknowledges = true;
    bool transmits = true;
    bool transmits_already = false;  // when it says hello
    bool joins_other = true;         // the second place of a START, too

    SessionId session;
    std::vector<control::PublisherDesired> told;
    std::optional<control::Reject> rejected;
};

struct ScriptedConsumer {
    PeerId id;
    std::string stream;
    std::uint64_t wait_ms = 0;

    SessionId session;
    bool is_closed = false;
    std::vector<control::Assignment> told;
    std::optional<control::Reject> rejected;

    [[nodiscard]] control::AssignmentState state() const {
        return told.empty() ? control::AssignmentState::unspecified : told.back().state;
    }
};

/// The core with scripted peers around it and a clock that only the test moves. What the core does
/// reaches the peers at once, what they answer reaches the core at once.
class World {
  public:
    explicit World(std::uint64_t seed = 1, Settings settings = {});

    // Peers come.
    ScriptedServer& add_server(const std::string& name, double utilisation = 0.1);
    ScriptedPublisher& add_publisher(const std::string& stream,
                                     control::StartPolicy start = control::StartPolicy::publish);
    ScriptedConsumer& add_consumer(const std::string& stream, std::uint64_t wait_ms = 10'000);
    /// A peer with nothing set yet but its name; attach(), publish() or request() connects it.
    ScriptedServer& new_server(const std::string& name);
    ScriptedPublisher& new_publisher(const std::string& stream);
    ScriptedConsumer& new_consumer(const std::string& stream, std::uint64_t wait_ms);
    /// Hello, the open streams, and a first load report.
    void attach(ScriptedServer& server);
    void say_hello(ScriptedServer& server);
    void report_streams(ScriptedServer& server);
    void publish(ScriptedPublisher& publisher);
    void request(ScriptedConsumer& consumer);

    // Peers act.
    void report_load(ScriptedServer& server);
    /// Installs or removes the consumer's flow at the data server it was told, and reports it.
    void join(ScriptedConsumer& consumer);
    void leave(ScriptedConsumer& consumer);
    void leave_at(ScriptedConsumer& consumer, ScriptedServer& at);
    void report(ScriptedServer& server, StreamId stream);
    /// Does what the set says and answers it.
    void apply(ScriptedServer& server, const control::StreamSet& set);
    void acknowledge(ScriptedPublisher& publisher, const control::PublisherDesired& desired);

    // Peers go: their session breaks off.
    void cut(SessionId& session);

    /// Lets time pass; living peers say their heartbeats and load reports.
    void pass(std::chrono::milliseconds duration);
    /// Lets time pass in silence but for Ticks.
    void pass_silently(std::chrono::milliseconds duration);

    void take(const Event& event);
    SessionId open_session(SessionKind kind);

    [[nodiscard]] Stream& stream(const std::string& name);
    [[nodiscard]] std::string_view phase(const std::string& name);
    [[nodiscard]] ScriptedServer& server(const std::string& name);
    /// Kinds of the events of a stream since `after`, in order.
    [[nodiscard]] std::vector<std::string> events_of(const std::string& stream,
                                                     std::uint64_t after = 0) const;
    [[nodiscard]] std::size_t count_events(EventKind kind) const;
    /// The data server's own clock.
    [[nodiscard]] std::uint64_t server_clock_ms() const;

    State state;
    MonotonicTime now{1'000h};
    std::list<ScriptedServer> servers;
    std::list<ScriptedPublisher> publishers;
    std::list<ScriptedConsumer> consumers;
    std::set<SessionId> closed_by_presence;
    std::vector<Durable> stored;  // everything that was made durable, in order
    std::string store_trouble;    // "" or why nothing is
    bool holds_answers = false;   // of the store: the test gives them
    std::vector<ToOperator> answers;

  private:
    void react(const ToDataServer& action);
    void react(const ToPublisher& action);
    void react(const ToConsumer& action);
    void react(const SendHeartbeats& /*action*/) {}
    void react(const CloseSession& action);
    void react(const StoreFacts& action);
    void react(const ToOperator& action) { answers.push_back(action); }
    void transmit_to(ScriptedPublisher& publisher, const std::string& server);
    /// Versions rise, and START comes only after the data server has opened the stream.
    void expect_permitted(const ScriptedPublisher& publisher,
                          const control::PublisherDesired& desired);
    void beat();
    void tick_if_due();

    std::mt19937_64 random_;
    std::deque<Event> events_;
    bool is_delivering_ = false;
    SessionIds ids_;
    std::uint64_t peers_ = 0x100;
    MonotonicTime next_beat_;
};

/// The ticket inside a message.
[[nodiscard]] Ticket ticket_in(const std::optional<control::TicketBytes>& bytes);

}  // namespace penstock::presence
