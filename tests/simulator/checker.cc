#include "simulator/checker.h"

#include "presence/core.h"
#include "presence/turn.h"
#include "simulator/consumer_model.h"
#include "simulator/data_server_model.h"
#include "simulator/network.h"
#include "simulator/presence_model.h"
#include "simulator/publisher_model.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <utility>

namespace penstock::simulator {
namespace {

constexpr seconds kOverlapMost{5};

bool is_at(const presence::Stream& stream, const std::string& server) {
    return stream.server == server || (stream.move.has_value() && stream.move->server == server);
}

}  // namespace

void Checker::fail(std::string invariant, std::string text) {
    if (!violation_) {
        around_.trace.say(around_.now(), "     {} is broken: {}", invariant, text);
        violation_ = Violation{std::move(invariant), std::move(text), around_.now()};
    }
}

void Checker::on_lead(NodeId presence, const presence::Durable& facts) {
    if (!leads_.empty() && facts.epoch <= leads_.rbegin()->first) {
        fail("I1", fmt::format("epoch {} is given to a second leader", facts.epoch));
    }
    leads_[facts.epoch] = {presence, around_.now(), facts.servers, facts.duties};
}

void Checker::on_obeyed(NodeId server, std::uint64_t epoch) {
    std::uint64_t& highest = obeyed_[server];
    if (epoch < highest) {
        fail("I1",
             fmt::format("{} applied a set of epoch {} after one of {}",
                         around_.network->node(server).name(),
                         epoch,
                         highest));
    } else if (!leads_.contains(epoch)) {
        fail("I1",
             fmt::format("{} applied a set of epoch {}, which no leader was given",
                         around_.network->node(server).name(),
                         epoch));
    }
    highest = std::max(highest, epoch);
}

/// Another presence led before, and data servers have had no time to say what they carry.
bool Checker::is_recovering(std::uint64_t epoch) const {
    const auto lead = leads_.find(epoch);
    return lead != leads_.end() && epoch > 1 && !lead->second.is_disturbed &&
           around_.now() < lead->second.since + presence::kSettlePeriod;
}

bool Checker::is_fed(const DataServerModel& server,
                     StreamId stream,
                     const Endpoint& endpoint) const {
    const auto open = server.streams().find(stream);
    if (!server.is_running() || open == server.streams().end() ||
        open->second.endpoint != endpoint || !open->second.is_open) {
        return false;
    }
    const ClientSession* session = server.join().publisher_of(stream);
    if (session == nullptr) {
        return false;
    }
    const NodeId from = node_at(session->address.ip);
    const auto& publisher = static_cast<const PublisherModel&>(around_.network->node(from));
    return publisher.feeds(endpoint, session->address) &&
           !around_.network->is_cut(Plane::data, from, server.id());
}

const DataServerModel& Checker::server_at(const Endpoint& endpoint) const {
    return static_cast<const DataServerModel&>(around_.network->node(node_at(endpoint.ip)));
}

bool Checker::is_sent(const ConsumerModel& consumer, const Endpoint& from) const {
    const DataServerModel& server = server_at(from);
    const StreamId stream = consumer.stream_id();
    if (!consumer.is_running() || !is_fed(server, stream, from) ||
        around_.network->is_cut(Plane::data, server.id(), consumer.id())) {
        return false;
    }
    const ClientSession* flow =
        server.join().sessions().find(stream, consumer.peer(), TicketRole::consume);
    return flow != nullptr && flow->address == consumer.address();
}

bool Checker::receives(const ConsumerModel& consumer) const {
    return (consumer.place() != nullptr && is_sent(consumer, *consumer.place())) ||
           (consumer.place_before() != nullptr && is_sent(consumer, *consumer.place_before()));
}

bool Checker::is_watched(const DataServerModel& server, StreamId stream) const {
    const Endpoint& endpoint = server.streams().at(stream).endpoint;
    for (NodeId id = 0; id < around_.network->size(); ++id) {
        const Node& node = around_.network->node(id);
        if (node.kind() != NodeKind::consumer) {
            continue;
        }
        const auto& consumer = static_cast<const ConsumerModel&>(node);
        if (consumer.place() != nullptr && *consumer.place() == endpoint &&
            is_sent(consumer, endpoint)) {
            return true;
        }
    }
    return false;
}

void Checker::check_placed(const presence::State& state,
                           const Node& server,
                           const presence::Stream& stream) {
    if (stream.decision.chosen != server.name()) {
        return;
    }
    const std::size_t most = state.settings.server_streams_max;
    if (stream.decided_at == around_.now() && most != 0 &&
        state.servers.at(server.name()).desired.size() > most) {
        fail("admission", fmt::format("{} is given more than {} streams", server.name(), most));
    }
    if (!state.facts.duties.contains(server.name())) {
        return;
    }
    const Lead& lead = leads_.at(state.facts.epoch);
    MonotonicTime since = lead.duties.contains(server.name()) ? lead.since : presence::kNever;
    for (const presence::LoggedEvent& event :
         state.events.after(0, "", presence::EventLog::kEventsMax)) {
        if (event.kind == presence::EventKind::uncordoned && event.data_server == server.name()) {
            since = presence::kNever;
        } else if ((event.kind == presence::EventKind::cordoned ||
                    event.kind == presence::EventKind::draining) &&
                   event.data_server == server.name()) {
            since = std::min(since, event.at);
        }
    }
    if (stream.decided_at > since) {
        fail("drain",
             fmt::format("{} is given to {}, which an operator took out: {}",
                         stream.name,
                         server.name(),
                         stream.decision.reason));
    }
}

void Checker::on_set_sent(const presence::State& state,
                          const Node& node,
                          const control::StreamSet& set) {
    const auto& server = static_cast<const DataServerModel&>(node);
    for (const control::DesiredStream& desired : set.open) {
        if (const auto stream = state.streams.find(desired.stream); stream != state.streams.end()) {
            check_placed(state, node, stream->second);
        }
    }
    if (set.epoch < leads_.rbegin()->first) {
        leads_.rbegin()->second.is_disturbed = true;
    }
    if (!is_recovering(set.epoch) || set.epoch < server.epoch()) {
        return;
    }
    for (const auto& [id, stream] : server.streams()) {
        const bool stays = std::ranges::any_of(
            set.open, [id = id](const auto& desired) { return desired.stream == id; });
        const bool goes = set.base_generation == 0 ? !stays && !set.keep_others
                                                   : std::ranges::count(set.close, id) > 0;
        if (goes && is_watched(server, id) && !was_degraded(state, server)) {
            fail("I7",
                 fmt::format("a presence that recovers has {} close {}, which is published and "
                             "watched there",
                             server.name(),
                             stream.name));
        }
    }
}

bool Checker::claims_publisher(const std::optional<Endpoint>& place, StreamId stream) const {
    return place.has_value() && server_at(*place).is_alive() &&
           server_at(*place).join().publisher_of(stream) != nullptr;
}

bool Checker::has_happened(const presence::State& state,
                           presence::EventKind kind,
                           const DataServerModel& server) {
    const auto events = state.events.after(0, "", presence::EventLog::kEventsMax);
    return std::ranges::any_of(events, [&](const presence::LoggedEvent& event) {
        return event.kind == kind && event.data_server == server.name();
    });
}

bool Checker::was_degraded(const presence::State& state, const DataServerModel& server) {
    return has_happened(state, presence::EventKind::data_down, server);
}

bool Checker::was_lost(const presence::State& state, const DataServerModel& server) {
    return was_degraded(state, server) ||
           has_happened(state, presence::EventKind::server_gone, server);
}

bool Checker::can_expect(const presence::State& state,
                         const DataServerModel& server,
                         StreamId stream) const {
    const std::uint64_t epoch = state.facts.epoch;
    const auto& recorded = leads_.at(epoch).recorded;
    if (recorded.contains(server.name())) {
        return true;
    }
    const auto known = state.streams.find(stream);
    const MonotonicTime decided_at = known == state.streams.end()
                                         ? around_.now()
                                         : known->second.decided_at.value_or(around_.now());
    const auto events = state.events.after(0, "", presence::EventLog::kEventsMax);
    return std::ranges::any_of(events, [&](const presence::LoggedEvent& event) {
        const auto other = state.servers.find(event.data_server);
        return event.kind == presence::EventKind::server_attached && event.at < decided_at &&
               other != state.servers.end() && other->second.hello.epoch_seen != 0 &&
               other->second.hello.epoch_seen < epoch && !recorded.contains(other->first);
    });
}

void Checker::on_desired_sent(const presence::State& state,
                              const Node& node,
                              const control::PublisherDesired& desired) {
    const auto& publisher = static_cast<const PublisherModel&>(node);
    const bool stays = desired.endpoint.has_value() && publisher.feeds(*desired.endpoint);
    if (desired.epoch < leads_.rbegin()->first && !stays) {
        leads_.rbegin()->second.is_disturbed = true;
    }
    if (!is_recovering(desired.epoch) || !publisher.is_sending() ||
        claims_publisher(desired.endpoint, publisher.stream_id())) {
        return;
    }
    const StreamId stream = publisher.stream_id();
    for (NodeId id = 0; id < around_.network->size(); ++id) {
        if (around_.network->node(id).kind() != NodeKind::data_server) {
            continue;
        }
        const auto& server = static_cast<const DataServerModel&>(around_.network->node(id));
        const auto open = server.streams().find(stream);
        if (open == server.streams().end() || !publisher.feeds(open->second.endpoint) ||
            (desired.state == control::DesiredState::start &&
             desired.endpoint == open->second.endpoint)) {
            continue;
        }
        if (is_watched(server, stream) && !was_lost(state, server) &&
            can_expect(state, server, stream)) {
            fail("I7",
                 fmt::format(
                     "a presence that recovers tells {}, which is watched at {}, to {}",
                     publisher.name(),
                     server.name(),
                     desired.state == control::DesiredState::start ? "go elsewhere" : "cease"));
        }
    }
}

void Checker::check_admitted(const presence::State& state,
                             const presence::Stream& stream,
                             const presence::Consumer& consumer) {
    if (!admitted_.emplace(state.facts.epoch, consumer.id).second ||
        presence::has_flow(stream.flows, consumer.id) ||
        (stream.move.has_value() && presence::has_flow(stream.move->flows, consumer.id))) {
        return;
    }
    std::size_t there = 0;
    for (const auto& [id, other] : state.streams) {
        there += other.server == stream.server ? other.requests.size() : 0;
    }
    const presence::Settings& settings = state.settings;
    if (settings.stream_consumers_max != 0 &&
        stream.requests.size() > settings.stream_consumers_max) {
        fail("admission",
             fmt::format("{} is given to {} consumers, it may have {} ({} flows)",
                         stream.name,
                         stream.requests.size(),
                         settings.stream_consumers_max,
                         stream.flows.size()));
    } else if (settings.server_consumers_max != 0 && !stream.server.empty() &&
               there > settings.server_consumers_max) {
        fail("admission", stream.server + " is given more consumers than it may have");
    }
}

void Checker::on_assignment_sent(const presence::State& state,
                                 const Node& node,
                                 const control::Assignment& assignment) {
    const auto& consumer = static_cast<const ConsumerModel&>(node);
    if (const auto stream = state.streams.find(consumer.stream_id());
        stream != state.streams.end() && stream->second.requests.contains(consumer.peer())) {
        check_admitted(state, stream->second, stream->second.requests.at(consumer.peer()));
    }
    const Endpoint* place = consumer.place();
    if (!is_recovering(assignment.epoch) || place == nullptr ||
        assignment.state == control::AssignmentState::wait || assignment.endpoint == *place ||
        !is_sent(consumer, *place) || claims_publisher(assignment.endpoint, consumer.stream_id()) ||
        was_lost(state, server_at(*place)) ||
        !can_expect(state, server_at(*place), consumer.stream_id())) {
        return;
    }
    fail("I7",
         fmt::format("a presence that recovers tells {}, which receives from {}, to go elsewhere",
                     consumer.name(),
                     server_at(*place).name()));
}

/// It is attached to the newest leader, and that one works.
bool Checker::is_in_power(const DataServerModel& server) const {
    const auto& [epoch, lead] = *leads_.rbegin();
    return server.is_attached() && server.epoch() == epoch &&
           around_.network->node(lead.presence).is_running() &&
           around_.now() >= lead.since + presence::kSettlePeriod;
}

bool Checker::is_moving(StreamId stream) const {
    const auto& leader =
        static_cast<const PresenceModel&>(around_.network->node(leads_.rbegin()->second.presence));
    const auto known = leader.state().streams.find(stream);
    return known != leader.state().streams.end() && known->second.move.has_value();
}

void Checker::watch() {
    for (NodeId id = 0; id < around_.network->size(); ++id) {
        if (around_.network->node(id).kind() != NodeKind::consumer) {
            continue;
        }
        const auto& consumer = static_cast<const ConsumerModel&>(around_.network->node(id));
        const StreamId stream = consumer.stream_id();
        std::string where;
        int count = 0;
        bool is_ruled = true;
        for (NodeId at = 0; at < around_.network->size(); ++at) {
            if (around_.network->node(at).kind() != NodeKind::data_server) {
                continue;
            }
            const auto& server = static_cast<const DataServerModel&>(around_.network->node(at));
            const auto open = server.streams().find(stream);
            if (open != server.streams().end() && is_sent(consumer, open->second.endpoint)) {
                ++count;
                where += (where.empty() ? "" : " and ") + server.name();
                is_ruled = is_ruled && is_in_power(server);
            }
        }
        const std::pair key{id, consumer.peer()};
        if (count < 2 || !is_ruled || is_moving(stream)) {
            overlaps_.erase(key);
        } else if (const auto since = overlaps_.emplace(key, around_.now()).first->second;
                   around_.now() - since > kOverlapMost) {
            fail("I6",
                 fmt::format("{} is sent {} by {} for more than 5 s",
                             consumer.name(),
                             consumer.stream(),
                             where));
        }
    }
}

void Checker::check_deadline(const presence::State& state) {
    if (presence::next_deadline(state) <= around_.now()) {
        fail("state", "a Tick leaves behind what is due");
    }
}

void Checker::check_state(const presence::State& state) {
    check_servers(state);
    check_streams(state);
    check_sessions(state);
    for (const StreamId id : state.unplaced) {
        if (!state.streams.contains(id)) {
            fail("state", "an unknown stream waits for a data server");
        }
    }
}

/// Everybody's session points back to them, as is checked elsewhere: if there are no more sessions
/// than that, none points to what is gone.
void Checker::check_sessions(const presence::State& state) {
    using presence::SessionKind;
    std::map<SessionKind, std::size_t> accepted{
        {SessionKind::data_server, 0}, {SessionKind::publisher, 0}, {SessionKind::consumer, 0}};
    for (const presence::SessionId id : state.sessions.ids()) {
        const presence::Session& session = *state.sessions.find(id);
        accepted[session.kind] += session.greeted ? 1 : 0;
    }
    const auto attached = std::ranges::count_if(
        state.servers, [](const auto& entry) { return bool(entry.second.session); });
    const auto publishing = std::ranges::count_if(
        state.streams, [](const auto& entry) { return bool(entry.second.publisher_session); });
    const std::map<SessionKind, std::size_t> expected{
        {SessionKind::data_server, static_cast<std::size_t>(attached)},
        {SessionKind::publisher, static_cast<std::size_t>(publishing)},
        {SessionKind::consumer, state.consumers}};
    if (accepted != expected) {
        fail("state", "a session that was accepted is nobody's");
    }
}

void Checker::check_servers(const presence::State& state) {
    for (const auto& [name, server] : state.servers) {
        const presence::Session* session = state.sessions.find(server.session);
        if (server.session && (session == nullptr || session->server != &server)) {
            fail("state", name + " is attached by a session that is over");
        }
        for (const auto& [id, desired] : server.desired) {
            const auto stream = state.streams.find(id);
            if (stream == state.streams.end() || !is_at(stream->second, name)) {
                fail("state", desired.name + " is wanted open at " + name + ", where it is not");
            }
        }
    }
}

void Checker::check_streams(const presence::State& state) {
    using presence::StreamStep;
    std::size_t consumers = 0;
    for (const auto& [id, stream] : state.streams) {
        if (!stream.server.empty()) {
            const auto server = state.servers.find(stream.server);
            if (server == state.servers.end() || !server->second.session) {
                fail("state", stream.name + " is on a data server that is not attached");
            } else if (stream.at != &server->second) {
                fail("state", stream.name + " is on a data server other than it says");
            } else if ((stream.step == StreamStep::opening || stream.step == StreamStep::started) &&
                       !server->second.desired.contains(id)) {
                fail("state", stream.name + " is on a data server that is not to have it open");
            }
        } else if (stream.at != nullptr || stream.step == StreamStep::opening ||
                   stream.step == StreamStep::started) {
            fail("state", stream.name + " is open nowhere");
        }
        const presence::Session* publisher = state.sessions.find(stream.publisher_session);
        if (stream.publisher_session && (publisher == nullptr || publisher->stream != &stream)) {
            fail("state", stream.name + " has a publisher whose session is over");
        }
        for (const auto& [peer, consumer] : stream.requests) {
            const presence::Session* session = state.sessions.find(consumer.session);
            if (session == nullptr || session->consumer != &consumer) {
                fail("state", stream.name + " is requested by a session that is over");
            } else if (consumer.stream != &stream || consumer.id != peer) {
                fail("state", stream.name + " is requested by a consumer of another");
            } else if (consumer.told != stream.outlook) {
                fail("state", stream.name + ": a consumer was told something else");
            }
        }
        consumers += stream.requests.size();
    }
    if (consumers != state.consumers) {
        fail("state", "the number of consumers is not that of the requests");
    }
}

}  // namespace penstock::simulator
