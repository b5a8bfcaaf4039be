#include "micro/presence_traffic.h"

#include "base/check.h"
#include "base/protocol.h"
#include "wire/ticket.h"

#include <fmt/format.h>
#include <rte_cycles.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <iterator>
#include <malloc.h>
#include <utility>

namespace penstock::bench {
namespace {

using namespace std::chrono_literals;
using control::AssignmentState;
using control::DesiredState;
using presence::SessionId;

// Of the streams, those that consumers ask for; the others only wait.
constexpr std::size_t kPopularOneIn = 3;
// In one millisecond, of 1,000 data servers and 50,000 consumers: every data server reports ten
// times a second and every session beats once a second.
constexpr std::size_t kLoadIntervalSlices = 100;
constexpr std::size_t kBeatIntervalSlices = 1000;
// A consumer stays at a stream this long; so 50,000 ask 10,000 times a second.
constexpr std::size_t kStaySlices = 5000;
// A publisher's session breaks this often, and is opened again at once.
constexpr std::size_t kPublisherSlices = 100'000;
// Streams a data server has at its limit, for the utilisation it reports.
constexpr double kStreamsAtLimit = 200;
constexpr std::size_t kSetUpSlices = 10'000;

/// Bytes a copy of the state takes: what the state itself takes, without its slack.
std::size_t bytes_of(const presence::State& state) {
    const std::size_t before = mallinfo2().uordblks;
    const presence::State copy = state;
    return mallinfo2().uordblks - before;
}

std::chrono::nanoseconds time_on_core() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

double per(std::size_t bytes, std::size_t bytes_before, std::size_t count) {
    return (static_cast<double>(bytes) - static_cast<double>(bytes_before)) /
           static_cast<double>(std::max<std::size_t>(count, 1));
}

}  // namespace

PresenceTraffic::PresenceTraffic(const TrafficSize& size) : size_(size), now_(1'000h) {
    PENSTOCK_CHECK(initialise_cryptography());
    state_.settings.streams_max = size.streams;
    state_.settings.consumers_max = size.consumers + 1;
    state_.settings.data_servers_max = size.servers;
    state_.random = [this] { return random_() | 1U; };
    state_.started_at = now_ - 1h;
    state_.facts.epoch = 100;
    state_.wanted = state_.facts;

    const std::size_t empty = bytes_of(state_);
    servers_.resize(size.servers);
    for (std::size_t i = 0; i < size.servers; ++i) {
        attach(i);
    }
    pass(2 * kLoadIntervalSlices);
    const std::size_t with_servers = bytes_of(state_);
    publishers_.resize(size.streams);
    stream_ids_.resize(size.streams);
    for (std::size_t i = 0; i < size.streams; ++i) {
        publishers_[i].stream = fmt::format("studio-{}/camera-{}", i % 100, i);
        stream_ids_[i] = stream_id_of(publishers_[i].stream).value;
        publish(i, ++peers_);
        settle();
    }
    const std::size_t with_publishers = bytes_of(state_);
    // A little at a time, so that load reports show what was handed out.
    for (std::size_t i = 0; i < size.consumers; ++i) {
        consumers_.emplace_back();
        request(i);
        settle();
        if (i % std::max<std::size_t>(size.consumers / kSetUpSlices, 1) == 0) {
            pass(1);
        }
    }
    pass(2 * kBeatIntervalSlices);
    const std::size_t with_consumers = bytes_of(state_);
    for (std::size_t i = 0; i < size.consumers; ++i) {
        leave(i);
    }
    settle();
    const std::size_t without_consumers = bytes_of(state_);
    std::size_t open = 0;
    for (const Server& server : servers_) {
        open += server.open.size();
    }
    memory_.per_server = per(with_servers, empty, size.servers);
    memory_.per_publisher = per(with_publishers, with_servers, size.streams);
    memory_.per_open_stream = per(without_consumers, with_publishers, open);
    memory_.per_consumer = per(with_consumers, without_consumers, size.consumers);
    for (std::size_t i = 0; i < size.consumers; ++i) {
        request(i);
    }
    settle();
    pass(kBeatIntervalSlices);
    work_ = {};
}

std::chrono::nanoseconds PresenceTraffic::run_slice() {
    slice_time_ = {};
    ++slice_;
    now_ += 1ms;
    const auto due = [this](std::size_t count, std::size_t interval, auto action) {
        for (std::size_t i = slice_ % interval; i < count; i += interval) {
            action(i);
        }
    };
    due(size_.servers, kLoadIntervalSlices, [this](std::size_t i) { report_load(i); });
    due(publishers_.size(), kBeatIntervalSlices, [this](std::size_t i) {
        beat(PeerKind::publisher, i);
    });
    due(consumers_.size(), kBeatIntervalSlices, [this](std::size_t i) {
        beat(PeerKind::consumer, i);
    });
    if (next_deadline(state_) <= now_) {
        give(EventWork::tick, presence::Tick{});
    }
    if (consumers_.size() == size_.consumers) {
        due(consumers_.size(), kStaySlices, [this](std::size_t i) {
            leave(i);
            request(i);
        });
        due(publishers_.size(), kPublisherSlices, [this](std::size_t i) {
            const std::uint64_t id = state_.streams.at(StreamId{stream_ids_[i]}).publisher.value;
            close_session(publishers_[i].session);
            publish(i, id);
        });
    }
    settle();
    return slice_time_;
}

std::string PresenceTraffic::objection() const {
    std::size_t lost = 0;
    for (const Server& server : servers_) {
        lost += state_.sessions.contains(server.session) ? 0 : 1;
    }
    std::size_t waiting = 0;
    for (const Consumer& consumer : consumers_) {
        waiting += consumer.server.has_value() ? 0 : 1;
    }
    if (lost == 0 && waiting <= consumers_.size() / 100 && state_.streams.size() == size_.streams) {
        return "";
    }
    return fmt::format("{} data servers were lost, {} of {} consumers wait, there are {} streams",
                       lost,
                       waiting,
                       consumers_.size(),
                       state_.streams.size());
}

void PresenceTraffic::settle() {
    while (!events_.empty()) {
        const std::chrono::nanoseconds began = time_on_core();
        step_through();
        slice_time_ += time_on_core() - began;
        events_.clear();
        std::swap(actions_, answered_);
        for (const presence::Action& action : answered_) {
            std::visit([this](const auto& what) { react(what); }, action);
        }
        answered_.clear();
    }
}

void PresenceTraffic::step_through() {
    for (auto& [kind, event] : events_) {
        const std::uint64_t began = rte_rdtsc();
        std::vector<presence::Action> actions = step(state_, std::move(event), now_);
        WorkCount& count = work_[static_cast<std::size_t>(kind)];
        ++count.events;
        count.cycles += rte_rdtsc() - began;
        std::move(actions.begin(), actions.end(), std::back_inserter(actions_));
    }
}

SessionId PresenceTraffic::open_session(PeerKind kind, std::size_t index) {
    const SessionId session = ids_.take();
    const std::size_t place = place_of(session);
    by_session_.resize(std::max(by_session_.size(), place + 1));
    by_session_[place] = {kind, index};
    const auto session_kind = kind == PeerKind::server      ? presence::SessionKind::data_server
                              : kind == PeerKind::publisher ? presence::SessionKind::publisher
                                                            : presence::SessionKind::consumer;
    give(EventWork::session, presence::SessionOpened{session, session_kind});
    return session;
}

void PresenceTraffic::close_session(SessionId session) {
    give(EventWork::session, presence::SessionClosed{session});
    ids_.give_back(session);
}

PresenceTraffic::Peer PresenceTraffic::peer_of(SessionId session) const {
    return by_session_[place_of(session)];
}

void PresenceTraffic::attach(std::size_t index) {
    Server& server = servers_[index];
    server.name = fmt::format("rack{:02}-ds{:04}", index / 40, index);
    server_index_[server.name] = index;
    server.session = open_session(PeerKind::server, index);
    control::DataServerHello hello;
    hello.protocol = kProtocols.newest;
    hello.name = server.name;
    hello.boot_id = index + 1;
    hello.ports = {{"0000:81:00.0", "net_ice", IpAddress::v4(0x0a000001), 100'000'000'000}};
    hello.streams_max = 1000;
    hello.consumers_max = 65'536;
    hello.monotonic_ms = slice_;
    give(EventWork::session, presence::FromDataServer{server.session, hello});
    give(EventWork::session, presence::FromDataServer{server.session, control::ReportsDone{}});
    settle();
}

void PresenceTraffic::publish(std::size_t index, std::uint64_t publisher) {
    publishers_[index].session = open_session(PeerKind::publisher, index);
    give(EventWork::publisher_hello,
         presence::FromPublisher{publishers_[index].session,
                                 control::PublisherHello{kProtocols.newest,
                                                         PeerId{publisher},
                                                         publishers_[index].stream,
                                                         control::StartPolicy::demand,
                                                         5'000'000,
                                                         0}});
}

void PresenceTraffic::request(std::size_t index) {
    Consumer& consumer = consumers_[index];
    consumer.id = PeerId{++peers_};
    consumer.stream = draw(std::max<std::size_t>(publishers_.size() / kPopularOneIn, 1));
    consumer.server.reset();
    consumer.session = open_session(PeerKind::consumer, index);
    give(EventWork::consumer_request,
         presence::FromConsumer{
             consumer.session,
             control::ConsumerRequest{
                 kProtocols.newest, consumer.id, publishers_[consumer.stream].stream, 10'000}});
}

void PresenceTraffic::leave(std::size_t index) {
    Consumer& consumer = consumers_[index];
    close_session(consumer.session);
    if (!consumer.server) {
        return;
    }
    const std::size_t server = *std::exchange(consumer.server, std::nullopt);
    const std::uint64_t stream = stream_ids_[consumer.stream];
    if (const auto open = servers_[server].open.find(stream); open != servers_[server].open.end()) {
        std::erase_if(open->second.flows,
                      [&](const auto& flow) { return flow.consumer == consumer.id; });
        report_stream(server, stream);
    }
}

void PresenceTraffic::report_load(std::size_t index) {
    Server& server = servers_[index];
    control::LoadReport load;
    load.monotonic_ms = slice_;
    load.sequence = slice_;
    load.queues.resize(4);
    load.utilisation = static_cast<double>(server.open.size()) / kStreamsAtLimit;
    load.bottleneck = "port 0 egress";
    for (auto& [id, open] : server.open) {
        if (open.publisher) {
            control::StreamLoad& stream = load.streams.emplace_back();
            stream.stream = StreamId{id};
            stream.packets_in = open.packets += 50;
        }
    }
    std::ranges::sort(load.streams, {}, &control::StreamLoad::stream);
    give(EventWork::load_report, presence::FromDataServer{server.session, std::move(load)});
}

void PresenceTraffic::report_stream(std::size_t server, std::uint64_t stream) {
    const OpenStream& open = servers_[server].open.at(stream);
    control::StreamReport report;
    report.stream = StreamId{stream};
    report.name = open.desired.name;
    report.endpoint = open.endpoint;
    report.publisher = open.publisher;
    report.consumers = open.flows;
    give(EventWork::stream_report,
         presence::FromDataServer{servers_[server].session, std::move(report)});
}

void PresenceTraffic::react(const presence::ToDataServer& action) {
    const auto* set = std::get_if<control::StreamSet>(&action.message);
    if (set == nullptr) {
        return;
    }
    const std::size_t index = peer_of(action.session).index;
    Server& server = servers_[index];
    control::Applied applied;
    applied.epoch = set->epoch;
    applied.generation = server.generation = set->generation;
    for (const control::DesiredStream& desired : set->open) {
        OpenStream& open = server.open[desired.stream.value];
        open.desired = desired;
        if (open.endpoint.port == 0) {
            open.endpoint = {IpAddress::v4(0x0a000001U + static_cast<std::uint32_t>(index)),
                             server.next_port++};
        }
        applied.opened.push_back({desired.stream, open.endpoint});
    }
    for (const StreamId close : set->close) {
        server.open.erase(close.value);
    }
    give(EventWork::applied, presence::FromDataServer{server.session, std::move(applied)});
}

void PresenceTraffic::react(const presence::ToPublisher& action) {
    const auto* desired = std::get_if<control::PublisherDesired>(&action.message);
    const Peer peer = peer_of(action.session);
    if (desired == nullptr || publishers_[peer.index].session != action.session) {
        return;
    }
    const bool is_start = desired->state == DesiredState::start;
    give(EventWork::publisher_report,
         presence::FromPublisher{
             action.session,
             control::PublisherReport{desired->version, desired->state, is_start, ""}});
    if (is_start) {
        const std::size_t server = server_index_.at(desired->data_server);
        const std::uint64_t stream = stream_ids_[peer.index];
        if (const auto open = servers_[server].open.find(stream);
            open != servers_[server].open.end()) {
            open->second.publisher = state_.streams.at(StreamId{stream}).publisher;
            report_stream(server, stream);
        }
    }
}

void PresenceTraffic::react(const presence::ToConsumer& action) {
    const auto* assignment = std::get_if<control::Assignment>(&action.message);
    Consumer& consumer = consumers_[peer_of(action.session).index];
    if (assignment == nullptr || assignment->state != AssignmentState::ready ||
        consumer.session != action.session) {
        return;
    }
    const std::size_t server = server_index_.at(assignment->data_server);
    const std::uint64_t stream = stream_ids_[consumer.stream];
    if (const auto open = servers_[server].open.find(stream); open != servers_[server].open.end()) {
        control::ConsumerFlow flow;
        flow.consumer = consumer.id;
        flow.address = {IpAddress::v4(0x0a640001U), 4000};
        open->second.flows.push_back(flow);
        consumer.server = server;
        report_stream(server, stream);
    }
}

void PresenceTraffic::react(const presence::StoreFacts& action) {
    give(EventWork::session, presence::FactsStored{action.number, ""});
}

void PresenceTraffic::beat(PeerKind kind, std::size_t index) {
    if (kind == PeerKind::publisher) {
        give(EventWork::heartbeat,
             presence::FromPublisher{publishers_[index].session, control::Heartbeat{}});
    } else {
        give(EventWork::heartbeat,
             presence::FromConsumer{consumers_[index].session, control::Heartbeat{}});
    }
}

void PresenceTraffic::pass(std::size_t slices) {
    for (std::size_t i = 0; i < slices; ++i) {
        run_slice();
    }
}

}  // namespace penstock::bench
