#include "data_server/data_server.h"

#include "base/log.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace penstock {
namespace {

constexpr std::uint64_t kLoadIntervalMs = 100;
constexpr std::size_t kLeasesPerTick = 1'000;
constexpr std::size_t kOutboxMax = 65'536;
constexpr std::size_t kFramesPerTick = 512;
constexpr std::size_t kSetsWaitingMax = 1'024;
constexpr std::uint64_t kRefusalIntervalMs = 10'000;

FlowPlace place_of(const ClientSession& session) {
    return {session.flow, session.port, session.local, session.address, session.next_hop};
}

template <typename... Cases>
struct Overloaded : Cases... {
    using Cases::operator()...;
};
template <typename... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

}  // namespace

DataServer::DataServer(JoinConfig join,
                       const SessionKey& boot_key,
                       LoadLimits limits,
                       StreamTable& streams,
                       DataServerOutputs outputs)
    : join_(std::move(join), boot_key, random_u64),
      streams_(streams),
      outputs_(std::move(outputs)),
      limits_(limits),
      snapshot_(outputs_.measure()) {}

void DataServer::on_session_frame(const SessionFrame& frame, std::uint64_t now_ms) {
    join_.handle(frame, now_ms, outcome_);
    carry_out(now_ms);
}

void DataServer::on_neighbour(std::uint8_t port,
                              const IpAddress& neighbour,
                              const MacAddress& before,
                              const MacAddress& now,
                              std::uint64_t now_ms) {
    join_.move_next_hop(port, neighbour, before, now, outcome_);
    carry_out(now_ms);
}

void DataServer::on_presence(DownMessage message, std::uint64_t now_ms) {
    std::visit(Overloaded{[&](const Welcome& welcome) { on_welcome(welcome, now_ms); },
                          [&](const StreamSet& set) { on_streams(set, now_ms); },
                          [&](const Detached& detached) {
                              reconcile_.forget_answers();
                              if (attached_ || !trouble_told_) {
                                  log_warning(fmt::format("{}; relaying goes on, trying again",
                                                          detached.reason));
                              }
                              attached_ = false;
                              trouble_told_ = true;
                          }},
               message);
}

void DataServer::on_welcome(const Welcome& welcome, std::uint64_t now_ms) {
    if (!reconcile_.see_epoch(welcome.epoch)) {
        // An old leader that does not know yet that it was replaced.
        outputs_.drop_presence(fmt::format(
            "its epoch {} is older than {}, which we obey", welcome.epoch, reconcile_.epoch()));
        return;
    }
    join_.set_ticket_key(welcome.ticket_key_id, welcome.ticket_key);
    reconcile_.forget_answers();
    stream_loads_ = {};  // this presence has seen none of them
    load_at_ms_ = 0;     // nor our load, without which it gives us nothing
    outputs_.set_position(reconcile_.epoch(), reconcile_.generation());
    for (const StreamTable::View& stream : streams_.open_streams()) {
        report(stream.id);
        reports_.changed(stream.id, now_ms);
    }
    outputs_.send_up(ReportsDone{});
    attached_ = true;
    trouble_told_ = false;
    log_info(fmt::format("attached to presence {} epoch={}", welcome.presence, welcome.epoch));
}

void DataServer::on_streams(const StreamSet& set, std::uint64_t now_ms) {
    if (reconcile_.waiting() >= kSetsWaitingMax) {
        outputs_.drop_presence("its commands come faster than the workers apply them");
        return;
    }
    const Reconcile::Work work = reconcile_.take(set);
    outputs_.set_position(reconcile_.epoch(), reconcile_.generation());
    for (const StreamId stream : work.close) {
        join_.close_stream(stream, outcome_);
        streams_.close(stream);
        reports_.forget(stream);
    }
    for (const DesiredStream& desired : work.open) {
        open(desired, now_ms);
    }
    carry_out(now_ms);
    settle();
}

void DataServer::open(const DesiredStream& desired, std::uint64_t now_ms) {
    std::uint16_t udp_port = 0;
    if (const auto present = streams_.find(desired.stream)) {
        udp_port = present->endpoint.port;
    } else {
        const auto endpoint = streams_.open(desired.stream, desired.name);
        if (!endpoint) {
            log_warning(
                fmt::format("stream {} refused: {}", desired.name, endpoint.error().message));
            reconcile_.refused(desired.stream, endpoint.error().message);
            return;
        }
        udp_port = endpoint->port;
        reports_.changed(desired.stream, now_ms);
    }
    join_.open_stream(desired.stream, udp_port, desired.publisher, outcome_);
}

void DataServer::carry_out(std::uint64_t now_ms) {
    JoinOutcome trouble;
    for (const FlowOperation& operation : outcome_.operations) {
        carry_out(operation, trouble, now_ms);
    }
    for (const FlowOperation& operation : trouble.operations) {
        carry_out(operation, trouble, now_ms);
    }
    // Behind their ACCEPT, which says the flow id.
    outcome_.replies.insert(outcome_.replies.end(), trouble.replies.begin(), trouble.replies.end());
    send_replies();
    outcome_.clear();
}

void DataServer::carry_out(const FlowOperation& operation,
                           JoinOutcome& trouble,
                           std::uint64_t now_ms) {
    const auto add = [&](const InstallConsumer& install) {
        const ClientSession& session = install.session;
        const auto added = streams_.add_flow(
            session.stream, place_of(session), install.history_packets, install.history_ms);
        if (!added) {
            join_.not_installed(session.flow, trouble);
            if (now_ms >= refusal_told_at_ms_ + kRefusalIntervalMs) {
                refusal_told_at_ms_ = now_ms;
                log_warning(fmt::format(
                    "consumer {} refused: {}", to_string(session.address), added.error().message));
            }
        }
        reports_.changed(session.stream, now_ms);
    };
    std::visit(Overloaded{add,
                          [&](const MoveConsumer& move) {
                              streams_.move_flow(move.session.stream, place_of(move.session));
                              reports_.changed(move.session.stream, now_ms);
                          },
                          [&](const RemoveConsumer& remove) {
                              streams_.remove_flow(remove.stream, remove.flow);
                              reports_.changed(remove.stream, now_ms);
                          },
                          [&](const InstallPublisher& install) {
                              streams_.set_publisher(install.session.stream,
                                                     install.session.address,
                                                     install.session.flow);
                              reports_.changed(install.session.stream, now_ms);
                          },
                          [&](const RemovePublisher& remove) {
                              streams_.set_publisher(remove.stream, Endpoint{}, FlowId{});
                              reports_.changed(remove.stream, now_ms);
                          }},
               operation);
}

/// By the stream's owner, so that a client hears of its flow after the owner has been told of it
/// (if another worker replicates for it: at about the time that one is told).
void DataServer::send_replies() {
    for (const SessionReply& reply : outcome_.replies) {
        const bool first = outbox_.empty();
        if (first && outputs_.send_frame(reply, streams_.owner_of(reply.stream))) {
            continue;
        }
        if (outbox_.size() < kOutboxMax) {
            outbox_.push_back(reply);
        } else {
            ++lost_frames_;
        }
    }
}

void DataServer::on_tick(std::uint64_t now_ms) {
    for (std::size_t sent = 0; sent < kFramesPerTick && !outbox_.empty(); ++sent) {
        const SessionReply& reply = outbox_.front();
        if (!outputs_.send_frame(reply, streams_.owner_of(reply.stream))) {
            break;
        }
        outbox_.pop_front();
    }
    join_.expire(now_ms, kLeasesPerTick, outcome_);
    carry_out(now_ms);
    settle();
    report_streams(now_ms);
    if (now_ms - load_at_ms_ >= kLoadIntervalMs) {
        load_at_ms_ = now_ms;
        report_load(now_ms);
    }
}

void DataServer::shut_down(std::uint64_t now_ms) {
    join_.end_all(EndReason::shutdown, outcome_);
    carry_out(now_ms);
}

void DataServer::settle() {
    const StreamTable::Settled settled = streams_.advance();
    for (const OpenedStream& opened : settled.opened) {
        reconcile_.opened(opened.stream, opened.endpoint);
    }
    for (const StreamId closed : settled.closed) {
        reconcile_.closed(closed);
    }
    for (Applied& answer : reconcile_.take_answers()) {
        outputs_.send_up(std::move(answer));
    }
}

void DataServer::report_streams(std::uint64_t now_ms) {
    const auto consumers = [this](StreamId stream) { return consumers_of(stream); };
    for (const StreamId stream : reports_.take_due(now_ms, consumers)) {
        if (attached_) {
            report(stream);
        }
    }
}

std::size_t DataServer::consumers_of(StreamId stream) const {
    return join_.sessions().of_stream(stream).size();
}

void DataServer::report(StreamId stream) {
    const auto view = streams_.find(stream);
    if (!view) {
        return;
    }
    StreamReport message;
    message.stream = stream;
    message.name = view->name;
    message.endpoint = view->endpoint;
    if (const ClientSession* publisher = join_.publisher_of(stream)) {
        message.publisher = publisher->peer;
        message.publisher_address = publisher->address;
    }
    for (const FlowId flow : join_.sessions().of_stream(stream)) {
        const ClientSession* session = join_.sessions().find(flow);
        const FlowCounters* counters = streams_.counters_of(stream, flow);
        if (session->role != TicketRole::consume || counters == nullptr) {
            continue;
        }
        if (message.consumers.size() == control::kFlowsMax) {
            outputs_.send_up(message);
            message.consumers.clear();
            message.continued = true;
        }
        message.consumers.push_back({session->peer,
                                     session->address,
                                     counters->copies.read(),
                                     counters->copy_bytes.read(),
                                     counters->lost.read(),
                                     counters->history_left.read()});
    }
    outputs_.send_up(std::move(message));
}

void DataServer::report_load(std::uint64_t now_ms) {
    LoadSnapshot now = outputs_.measure();
    LoadReport load = make_load_report(snapshot_, now, limits_);
    snapshot_ = std::move(now);
    liveness_.look(snapshot_, now_ms, load);
    say_trouble(load);
    if (!attached_) {
        return;
    }
    load.sequence = ++load_sequence_;
    load.monotonic_ms = now_ms;
    load.copy_bytes = streams_.copy_bytes();
    std::vector<StreamLoad> loads;
    for (const StreamTable::View& stream : streams_.open_streams()) {
        const StreamTable::Figures& figures = stream.figures;
        loads.push_back({stream.id,
                         figures.packets_in,
                         figures.bytes_in,
                         figures.copies,
                         figures.copy_bytes,
                         figures.dropped,
                         figures.ring_packets,
                         figures.ring_bytes});
    }
    load.streams = stream_loads_.changed(loads);
    outputs_.send_load(load);
}

/// New streams go to ports that have a link; the log says when one loses it, or a worker hangs.
void DataServer::say_trouble(const LoadReport& load) {
    has_link_.resize(load.ports.size(), true);
    for (std::size_t port = 0; port < load.ports.size(); ++port) {
        const bool has_link = load.ports[port].link != control::LinkState::down;
        if (has_link != has_link_[port]) {
            has_link_[port] = has_link;
            streams_.set_link(static_cast<std::uint8_t>(port), has_link);
            log_warning(fmt::format("port {} has {} link", port, has_link ? "its" : "no"));
        }
    }
    if (load.stuck_workers != stuck_workers_) {
        stuck_workers_ = load.stuck_workers;
        log_warning(stuck_workers_.empty() ? std::string("all workers move again")
                                           : fmt::format("worker {} has not moved for {} ms",
                                                         fmt::join(stuck_workers_, ", "),
                                                         Liveness::kStuckMs));
    }
}

}  // namespace penstock
