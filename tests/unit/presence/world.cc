#include "unit/presence/world.h"

#include "base/protocol.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <utility>

namespace penstock::presence {
namespace {

constexpr auto kBeat = 100ms;

Endpoint endpoint_of(const ScriptedServer& server, std::uint16_t port) {
    const auto last = static_cast<unsigned char>(server.name.back());
    return {IpAddress::v4(0x0a5b0000U + last), port};
}

template <typename Peer>
Peer* by_session(std::list<Peer>& peers, SessionId session) {
    const auto found = std::find_if(
        peers.begin(), peers.end(), [&](const Peer& peer) { return peer.session == session; });
    return found == peers.end() ? nullptr : &*found;
}

}  // namespace

World::World(std::uint64_t seed, Settings settings) : random_(seed), next_beat_(now) {
    EXPECT_TRUE(initialise_cryptography());
    state.settings = settings;
    state.random = [this] { return random_() | 1U; };
    state.started_at = now - 1h;  // settled long ago; a test of the settling moves it
    state.facts.epoch = 100;
    state.wanted = state.facts;
}

SessionId World::open_session(SessionKind kind) {
    const SessionId session = ids_.take();
    take(SessionOpened{session, kind});
    return session;
}

void World::take(const Event& event) {
    // What a peer answers comes after everything that was sent before it.
    events_.push_back(event);
    if (is_delivering_) {
        return;
    }
    is_delivering_ = true;
    while (!events_.empty()) {
        Event next = std::move(events_.front());
        events_.pop_front();
        for (const Action& action : step(state, std::move(next), now)) {
            std::visit([this](const auto& what) { react(what); }, action);
        }
    }
    is_delivering_ = false;
}

ScriptedServer& World::new_server(const std::string& name) {
    ScriptedServer& server = servers.emplace_back();
    server.name = name;
    server.boot_id = random_() | 1U;
    return server;
}

ScriptedServer& World::add_server(const std::string& name, double utilisation) {
    ScriptedServer& server = new_server(name);
    server.utilisation = utilisation;
    attach(server);
    return server;
}

void World::say_hello(ScriptedServer& server) {
    server.session = open_session(SessionKind::data_server);
    control::DataServerHello hello;
    hello.protocol = kProtocols.newest;
    hello.name = server.name;
    hello.boot_id = server.boot_id;
    hello.ports = {
        {"net_null0", "net_null", endpoint_of(server, 1).ip, server.link_bits_per_second}};
    hello.streams_max = server.streams_max;
    hello.consumers_max = 1000;
    hello.epoch_seen = server.epoch_seen;
    hello.applied_generation = server.generation;
    hello.monotonic_ms = server_clock_ms();
    take(FromDataServer{server.session, hello});
}

void World::report_streams(ScriptedServer& server) {
    for (const auto& [id, open] : std::map<StreamId, OpenStream>(server.open)) {
        report(server, id);
    }
    if (server.session) {
        take(FromDataServer{server.session, control::ReportsDone{}});
    }
}

void World::attach(ScriptedServer& server) {
    say_hello(server);
    if (!server.session && server.rejected.has_value()) {
        say_hello(server);  // as one does whose epoch had to be outrun first
    }
    report_streams(server);
    report_load(server);
}

void World::report_load(ScriptedServer& server) {
    if (server.session) {
        control::LoadReport load;
        load.monotonic_ms = server_clock_ms();
        load.utilisation = server.utilisation;
        load.bottleneck = "worker 0 busy";
        for (const auto& [id, open] : server.open) {
            if (open.publisher) {
                control::StreamLoad& stream = load.streams.emplace_back();
                stream.stream = id;
                stream.packets_in = 1 + load.monotonic_ms;
            }
        }
        load.ports = server.ports;
        load.stuck_workers = server.stuck_workers;
        take(FromDataServer{server.session, load});
    }
}

ScriptedPublisher& World::new_publisher(const std::string& stream) {
    ScriptedPublisher& publisher = publishers.emplace_back();
    publisher.id = PeerId{++peers_};
    publisher.stream = stream;
    return publisher;
}

ScriptedPublisher& World::add_publisher(const std::string& stream, control::StartPolicy start) {
    ScriptedPublisher& publisher = new_publisher(stream);
    publisher.start = start;
    publish(publisher);
    return publisher;
}

void World::publish(ScriptedPublisher& publisher) {
    publisher.session = open_session(SessionKind::publisher);
    take(FromPublisher{publisher.session,
                       control::PublisherHello{kProtocols.newest,
                                               publisher.id,
                                               publisher.stream,
                                               publisher.start,
                                               publisher.max_bits_per_second,
                                               publisher.close_after_ms,
                                               publisher.transmits_already}});
}

ScriptedConsumer& World::new_consumer(const std::string& stream, std::uint64_t wait_ms) {
    ScriptedConsumer& consumer = consumers.emplace_back();
    consumer.id = PeerId{++peers_};
    consumer.stream = stream;
    consumer.wait_ms = wait_ms;
    return consumer;
}

ScriptedConsumer& World::add_consumer(const std::string& stream, std::uint64_t wait_ms) {
    ScriptedConsumer& consumer = new_consumer(stream, wait_ms);
    request(consumer);
    return consumer;
}

void World::request(ScriptedConsumer& consumer) {
    consumer.session = open_session(SessionKind::consumer);
    consumer.is_closed = false;
    take(FromConsumer{consumer.session,
                      control::ConsumerRequest{
                          kProtocols.newest, consumer.id, consumer.stream, consumer.wait_ms}});
}

void World::join(ScriptedConsumer& consumer) {
    ASSERT_EQ(consumer.state(), control::AssignmentState::ready);
    ScriptedServer& at = server(consumer.told.back().data_server);
    const StreamId id = stream_id_of(consumer.stream);
    ASSERT_TRUE(at.open.contains(id));
    control::ConsumerFlow flow;
    flow.consumer = consumer.id;
    flow.address = {IpAddress::v4(0x0a5b0064U), 4000};
    at.open[id].flows[consumer.id] = flow;
    report(at, id);
}

void World::leave(ScriptedConsumer& consumer) {
    const StreamId id = stream_id_of(consumer.stream);
    for (ScriptedServer& at : servers) {
        if (at.open.contains(id)) {
            leave_at(consumer, at);
        }
    }
}

void World::leave_at(ScriptedConsumer& consumer, ScriptedServer& at) {
    const StreamId id = stream_id_of(consumer.stream);
    if (at.open.at(id).flows.erase(consumer.id) > 0) {
        report(at, id);
    }
}

void World::transmit_to(ScriptedPublisher& publisher, const std::string& name) {
    ScriptedServer& at = server(name);
    const StreamId id = stream_id_of(publisher.stream);
    const auto open = at.open.find(id);
    if (open != at.open.end() && open->second.publisher != publisher.id) {
        open->second.publisher = publisher.id;
        report(at, id);
    }
}

void World::report(ScriptedServer& server, StreamId stream) {
    if (!server.session) {
        return;
    }
    const OpenStream& open = server.open.at(stream);
    control::StreamReport report;
    report.stream = stream;
    report.name = open.desired.name;
    report.endpoint = open.endpoint;
    report.publisher = open.publisher;
    report.publisher_address = {IpAddress::v4(0x0a5b0063U), 3999};
    for (const auto& [id, flow] : open.flows) {
        report.consumers.push_back(flow);
    }
    take(FromDataServer{server.session, report});
}

void World::cut(SessionId& session) {
    const SessionId broken = std::exchange(session, SessionId{});
    take(SessionClosed{broken});
    if (broken) {
        ids_.give_back(broken);
    }
}

void World::react(const ToDataServer& action) {
    ScriptedServer* server = by_session(servers, action.session);
    ASSERT_NE(server, nullptr);
    if (const auto* welcome = std::get_if<control::DataServerWelcome>(&action.message)) {
        server->welcome = *welcome;
    } else if (const auto* set = std::get_if<control::StreamSet>(&action.message)) {
        server->sets.push_back(*set);
        if (server->acknowledges) {
            apply(*server, *set);
        }
    } else {
        server->rejected = std::get<control::Reject>(action.message);
    }
}

void World::apply(ScriptedServer& server, const control::StreamSet& set) {
    control::Applied applied;
    applied.epoch = std::max(server.epoch_seen, set.epoch);
    const bool fits = set.base_generation == 0 || set.base_generation == server.generation;
    if (set.epoch >= server.epoch_seen && fits) {
        server.epoch_seen = set.epoch;
        server.generation = set.generation;
        std::set<StreamId> wanted;
        for (const control::DesiredStream& desired : set.open) {
            if (server.refuses.contains(desired.name)) {
                applied.refused.push_back({desired.stream, "no port is free"});
                continue;
            }
            wanted.insert(desired.stream);
            OpenStream& open = server.open[desired.stream];
            open.desired = desired;
            if (open.endpoint.port == 0) {
                open.endpoint = endpoint_of(server, server.next_port++);
            }
            applied.opened.push_back({desired.stream, open.endpoint});
        }
        for (const StreamId close : set.close) {
            server.open.erase(close);
        }
        if (set.base_generation == 0 && !set.keep_others) {
            std::erase_if(server.open,
                          [&](const auto& entry) { return !wanted.contains(entry.first); });
        }
    }
    applied.generation = server.generation;
    take(FromDataServer{server.session, applied});
}

void World::react(const StoreFacts& action) {
    if (holds_answers) {
        return;
    }
    if (store_trouble.empty()) {
        stored.push_back(action.facts);
    }
    take(FactsStored{action.number, store_trouble});
}

void World::react(const ToPublisher& action) {
    ScriptedPublisher* publisher = by_session(publishers, action.session);
    ASSERT_NE(publisher, nullptr);
    if (const auto* desired = std::get_if<control::PublisherDesired>(&action.message)) {
        expect_permitted(*publisher, *desired);
        publisher->told.push_back(*desired);
        if (publisher->acknowledges) {
            acknowledge(*publisher, *desired);
        }
    } else if (const auto* reject = std::get_if<control::Reject>(&action.message)) {
        publisher->rejected = *reject;
    }
}

void World::expect_permitted(const ScriptedPublisher& publisher,
                             const control::PublisherDesired& desired) {
    if (!publisher.told.empty()) {
        const control::PublisherDesired& before = publisher.told.back();
        EXPECT_GE(desired.version, before.version);
        if (desired.version == before.version) {
            EXPECT_EQ(desired.state, before.state) << "a version has one meaning";
        }
    }
    if (desired.state == control::DesiredState::start) {
        const ScriptedServer& at = server(desired.data_server);
        const auto open = at.open.find(stream_id_of(publisher.stream));
        ASSERT_NE(open, at.open.end()) << "START before the data server has opened the stream";
        EXPECT_EQ(open->second.endpoint, *desired.endpoint);
    }
}

void World::acknowledge(ScriptedPublisher& publisher, const control::PublisherDesired& desired) {
    const bool accepted = desired.state == control::DesiredState::start && publisher.transmits;
    const control::PublisherDesired told = desired;  // taking what follows adds to those
    if (accepted) {
        OpenStream& open = server(told.data_server).open[stream_id_of(publisher.stream)];
        open.publisher = publisher.id;
    }
    take(FromPublisher{publisher.session,
                       control::PublisherReport{told.version, told.state, accepted, ""}});
    if (accepted && publisher.joins_other && told.also.has_value()) {
        transmit_to(publisher, told.also->data_server);
    }
}

void World::react(const ToConsumer& action) {
    ScriptedConsumer* consumer = by_session(consumers, action.session);
    ASSERT_NE(consumer, nullptr);
    if (const auto* assignment = std::get_if<control::Assignment>(&action.message)) {
        if (!consumer->told.empty()) {
            EXPECT_GT(assignment->version, consumer->told.back().version);
        }
        consumer->told.push_back(*assignment);
    } else if (const auto* reject = std::get_if<control::Reject>(&action.message)) {
        consumer->rejected = *reject;
    }
}

void World::react(const CloseSession& action) {
    closed_by_presence.insert(action.session);
    ids_.give_back(action.session);
    if (ScriptedServer* server = by_session(servers, action.session)) {
        server->session = {};
    }
    if (ScriptedPublisher* publisher = by_session(publishers, action.session)) {
        publisher->session = {};
    }
    if (ScriptedConsumer* consumer = by_session(consumers, action.session)) {
        consumer->session = {};
        consumer->is_closed = true;
    }
}

void World::beat() {
    for (ScriptedServer& server : servers) {
        if (server.reports_load) {
            report_load(server);
        }
    }
    for (ScriptedPublisher& publisher : publishers) {
        if (publisher.session) {
            take(FromPublisher{publisher.session, control::Heartbeat{}});
        }
    }
    for (ScriptedConsumer& consumer : consumers) {
        if (consumer.session) {
            take(FromConsumer{consumer.session, control::Heartbeat{}});
        }
    }
}

void World::tick_if_due() {
    if (next_deadline(state) <= now) {
        take(Tick{});
        EXPECT_GT(next_deadline(state), now) << "a Tick leaves nothing due behind";
    }
}

void World::pass(std::chrono::milliseconds duration) {
    const MonotonicTime end = now + duration;
    next_beat_ = std::max(next_beat_, now);
    for (;;) {
        now = std::max(now, std::min({end, next_beat_, next_deadline(state)}));
        if (now == next_beat_) {
            beat();
            next_beat_ += kBeat;
        }
        tick_if_due();
        if (now >= end) {
            return;
        }
    }
}

void World::pass_silently(std::chrono::milliseconds duration) {
    const MonotonicTime end = now + duration;
    do {
        now = std::max(now, std::min(end, next_deadline(state)));
        tick_if_due();
    } while (now < end);
    next_beat_ = now;
}

Stream& World::stream(const std::string& name) { return state.streams.at(stream_id_of(name)); }

std::string_view World::phase(const std::string& name) { return phase_of(stream(name)); }

ScriptedServer& World::server(const std::string& name) {
    return *std::find_if(servers.begin(), servers.end(), [&](const ScriptedServer& server) {
        return server.name == name;
    });
}

std::vector<std::string> World::events_of(const std::string& stream, std::uint64_t after) const {
    std::vector<std::string> kinds;
    for (const LoggedEvent& event : state.events.after(after, stream, EventLog::kEventsMax)) {
        kinds.emplace_back(to_string(event.kind));
    }
    return kinds;
}

std::size_t World::count_events(EventKind kind) const {
    std::size_t count = 0;
    for (const LoggedEvent& event : state.events.after(0, "", EventLog::kEventsMax)) {
        count += event.kind == kind ? 1 : 0;
    }
    return count;
}

std::uint64_t World::server_clock_ms() const {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count());
}

Ticket ticket_in(const std::optional<control::TicketBytes>& bytes) {
    return std::bit_cast<Ticket>(bytes.value_or(control::TicketBytes{}));
}

}  // namespace penstock::presence
