#include "simulator/data_server_model.h"

#include "base/protocol.h"
#include "simulator/checker.h"
#include "simulator/network.h"

#include <algorithm>
#include <utility>
#include <variant>

namespace penstock::simulator {
namespace {

constexpr milliseconds kLoadInterval{100};
constexpr milliseconds kGather{10};             // changes that come within this share a report
constexpr std::uint64_t kBeatsPerRefresh = 10;  // load reports from one stream report to the next
constexpr seconds kWelcomeWithin{5};
constexpr milliseconds kWorkersMost{5};  // until a command is applied
constexpr std::uint32_t kStreamsMaxSaid = 1'000;
constexpr std::size_t kLeasesPerTick = 1'000;
constexpr double kStreamUtilisation = 0.1;  // what a stream adds

}  // namespace

DataServerModel::DataServerModel(Surroundings& around,
                                 NodeId id,
                                 std::string name,
                                 DataServerFlaw flaw)
    : Caller(around,
             NodeKind::data_server,
             id,
             std::move(name),
             {.has_heartbeats = false, .first_answer_within = kWelcomeWithin}),
      flaw_(flaw),
      report_interval_(kLoadInterval) {}

IpAddress DataServerModel::address() const { return address_of(id()); }

std::uint64_t DataServerModel::clock_ms() const {
    using std::chrono::duration_cast;
    return static_cast<std::uint64_t>(
        duration_cast<milliseconds>(now().time_since_epoch() + clock_offset_).count());
}

void DataServerModel::on_start() {
    boot_id_ = around_.random.next() | 1U;
    clock_offset_ = around_.random.between(seconds(0), std::chrono::hours(24));
    reconcile_ = std::make_unique<Reconcile>();
    SessionKey boot_key;
    boot_key.bytes.fill(static_cast<std::uint8_t>(boot_id_));
    JoinConfig config;
    config.data_addresses = {{address(), 16}};
    join_ = std::make_unique<JoinHandler>(
        std::move(config), boot_key, [this] { return around_.random.next() | 1U; });
    streams_.clear();
    next_port_ = static_cast<std::uint16_t>(20'000 + around_.random.below(1'000));
    is_attached_ = false;
    load_sequence_ = 0;
    heard_at_ms_ = clock_ms();
    Caller::on_start();
    tick(0);
}

void DataServerModel::on_crash() {
    Caller::on_crash();
    is_attached_ = false;
    streams_.clear();
    around_.checker->on_boot(id());
}

Message DataServerModel::hello() {
    control::DataServerHello hello;
    hello.protocol = kProtocols.newest;
    hello.name = name();
    hello.boot_id = boot_id_;
    hello.ports = {{"net0", "net_null", address(), 10'000'000'000}};
    hello.consumers_max = 1000;
    hello.streams_max = kStreamsMaxSaid;
    hello.epoch_seen = reconcile_->epoch();
    hello.applied_generation = reconcile_->generation();
    hello.monotonic_ms = clock_ms();
    return control::DataServerMessage(std::move(hello));
}

void DataServerModel::on_presence(Message& message) {
    auto& reply = std::get<control::DataServerReply>(message);
    if (const auto* welcome = std::get_if<control::DataServerWelcome>(&reply)) {
        on_welcome(*welcome);
    } else if (auto* set = std::get_if<control::StreamSet>(&reply)) {
        on_set(std::move(*set));
    } else {
        hang_up();
    }
}

void DataServerModel::on_detached() {
    reconcile_->forget_answers();
    is_attached_ = false;
}

void DataServerModel::on_welcome(const control::DataServerWelcome& welcome) {
    if (!reconcile_->see_epoch(welcome.epoch) && !flaw_.obeys_any_epoch) {
        say("refuses epoch {}, obeys {}", welcome.epoch, reconcile_->epoch());
        hang_up();
        return;
    }
    say("is welcome, epoch {}", welcome.epoch);
    join_->set_ticket_key(welcome.ticket_key_id, TicketKey{welcome.ticket_key});
    reconcile_->forget_answers();
    is_attached_ = true;
    for (const auto& [id, stream] : streams_) {
        report(id);
    }
    send(control::DataServerMessage(control::ReportsDone{}));
    report_load();
}

void DataServerModel::on_set(control::StreamSet set) {
    const std::uint64_t said = set.epoch;
    const std::uint64_t obeyed = reconcile_->epoch();
    if (flaw_.obeys_any_epoch && set.epoch < obeyed) {
        set.epoch = obeyed;
        set.generation = reconcile_->generation() + 1;
        set.base_generation = set.base_generation == 0 ? 0 : reconcile_->generation();
    }
    const std::uint64_t before = reconcile_->generation();
    const Reconcile::Work work = reconcile_->take(set);
    const bool is_applied = reconcile_->epoch() == set.epoch &&
                            (reconcile_->generation() != before || !work.open.empty());
    say("{} set {} of epoch {}, {}: {} open, {} close",
        is_applied ? "applies" : "refuses",
        set.generation,
        said,
        set.base_generation == 0 ? "full" : "change",
        set.open.size(),
        work.close.size());
    if (is_applied) {
        around_.checker->on_obeyed(id(), said);
    }
    for (const StreamId stream : work.close) {
        close(stream);
    }
    for (const control::DesiredStream& desired : work.open) {
        open(desired);
    }
    carry_out();
    answer();
}

void DataServerModel::open(const control::DesiredStream& desired) {
    const auto found = streams_.find(desired.stream);
    if (found == streams_.end()) {
        if (streams_.size() >= streams_max_) {
            reconcile_->refused(desired.stream, "no memory for one more");
            return;
        }
        OpenStream& stream = streams_[desired.stream];
        stream.name = desired.name;
        stream.endpoint = {address(), next_port_++};
        after(around_.random.between(nanoseconds(0), kWorkersMost),
              [this, id = desired.stream, port = stream.endpoint.port] {
                  const auto opened = streams_.find(id);
                  if (opened != streams_.end() && opened->second.endpoint.port == port) {
                      opened->second.is_open = true;
                      reconcile_->opened(id, opened->second.endpoint);
                      answer();
                  }
              });
        change(desired.stream);
    }
    join_->open_stream(
        desired.stream, streams_.at(desired.stream).endpoint.port, desired.publisher, outcome_);
}

void DataServerModel::close(StreamId stream) {
    join_->close_stream(stream, outcome_);
    streams_.erase(stream);
    after(around_.random.between(nanoseconds(0), kWorkersMost), [this, stream] {
        reconcile_->closed(stream);
        answer();
    });
}

void DataServerModel::answer() {
    for (control::Applied& applied : reconcile_->take_answers()) {
        send(control::DataServerMessage(std::move(applied)));
    }
}

void DataServerModel::on_datagram(const Datagram& datagram) {
    heard_at_ms_ = clock_ms();
    SessionFrame frame;
    frame.source_mac.bytes = {0x02, 0, 0, 0, 0, 0x01};
    frame.source = datagram.source;
    frame.destination = datagram.destination;
    frame.payload = datagram.payload();
    join_->handle(frame, clock_ms(), outcome_);
    carry_out();
}

void DataServerModel::carry_out() {
    for (const FlowOperation& operation : outcome_.operations) {
        std::visit(
            [this](const auto& what) {
                if constexpr (requires { what.session; }) {
                    change(what.session.stream);
                } else {
                    change(what.stream);
                }
            },
            operation);
    }
    for (const SessionReply& reply : outcome_.replies) {
        Datagram datagram;
        datagram.from = id();
        datagram.to = node_at(reply.destination.ip);
        datagram.source = reply.source;
        datagram.destination = reply.destination;
        datagram.size = reply.size;
        std::ranges::copy(reply.payload(), datagram.bytes.begin());
        around_.network->send_datagram(datagram);
    }
    outcome_.clear();
}

void DataServerModel::change(StreamId stream) {
    const auto found = streams_.find(stream);
    if (found == streams_.end() || std::exchange(found->second.is_changed, true)) {
        return;
    }
    after(kGather, [this, stream] {
        const auto changed = streams_.find(stream);
        if (changed != streams_.end() && std::exchange(changed->second.is_changed, false)) {
            report(stream);
        }
    });
}

void DataServerModel::report(StreamId stream) {
    if (!is_attached_) {
        return;
    }
    const OpenStream& open = streams_.at(stream);
    control::StreamReport message;
    message.stream = stream;
    message.name = open.name;
    message.endpoint = open.endpoint;
    if (const ClientSession* publisher = join_->publisher_of(stream)) {
        message.publisher = publisher->peer;
        message.publisher_address = publisher->address;
    }
    for (const FlowId flow : join_->sessions().of_stream(stream)) {
        const ClientSession* session = join_->sessions().find(flow);
        if (session->role == TicketRole::consume) {
            message.consumers.push_back({.consumer = session->peer, .address = session->address});
        }
    }
    send(control::DataServerMessage(std::move(message)));
}

void DataServerModel::tick(std::uint64_t beat) {
    join_->expire(clock_ms(), kLeasesPerTick, outcome_);
    carry_out();
    if (is_attached_) {
        report_load();
        if (beat % kBeatsPerRefresh == 0) {
            for (const auto& [id, stream] : streams_) {
                report(id);
            }
        }
    }
    after(report_interval_, [this, beat] { tick(beat + 1); });
}

void DataServerModel::report_load() {
    control::LoadReport load;
    load.sequence = ++load_sequence_;
    load.monotonic_ms = clock_ms();
    load.utilisation = utilisation_ + kStreamUtilisation * static_cast<double>(streams_.size());
    load.bottleneck = "worker 0 busy";
    load.ports = {
        {has_link_ ? control::LinkState::up : control::LinkState::down, clock_ms() - heard_at_ms_}};
    if (is_stuck_) {
        load.stuck_workers = {0};
    }
    for (const auto& [id, stream] : streams_) {
        control::StreamLoad& of_stream = load.streams.emplace_back();
        of_stream.stream = id;
        of_stream.packets_in = load.monotonic_ms;
    }
    send(control::DataServerMessage(std::move(load)));
}

}  // namespace penstock::simulator
