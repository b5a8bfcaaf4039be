#include "simulator/publisher_model.h"

#include "base/protocol.h"
#include "simulator/checker.h"
#include "simulator/network.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace penstock::simulator {
namespace {

constexpr seconds kFirstAnswerWithin{3};

DesiredPublishing plain(const control::PublisherDesired& message) {
    DesiredPublishing desired;
    desired.epoch = message.epoch;
    desired.version = message.version;
    switch (message.state) {
        case control::DesiredState::start:
            desired.state = DesiredPublishing::State::start;
            desired.data_server = message.data_server;
            desired.endpoint = message.endpoint.value();
            desired.ticket = std::bit_cast<Ticket>(message.ticket.value());
            desired.key.bytes = message.session_key.value();
            break;
        case control::DesiredState::stop:
            desired.state = DesiredPublishing::State::stop;
            break;
        case control::DesiredState::wait:
        case control::DesiredState::unspecified:
            break;
    }
    return desired;
}

control::DesiredState spoken(DesiredPublishing::State state) {
    switch (state) {
        case DesiredPublishing::State::wait:
            return control::DesiredState::wait;
        case DesiredPublishing::State::start:
            return control::DesiredState::start;
        case DesiredPublishing::State::stop:
            return control::DesiredState::stop;
    }
    return control::DesiredState::unspecified;
}

}  // namespace

PublisherModel::PublisherModel(Surroundings& around,
                               NodeId id,
                               std::string name,
                               PublisherWish wish)
    : Caller(around,
             NodeKind::publisher,
             id,
             std::move(name),
             {.has_heartbeats = true, .first_answer_within = kFirstAnswerWithin}),
      wish_(std::move(wish)),
      stream_id_(stream_id_of(wish_.stream)) {}

Endpoint PublisherModel::address() const { return {address_of(id()), port_}; }

void PublisherModel::on_start() {
    peer_ = PeerId{around_.random.next() | 1U};
    gate_ = {};
    join_.emplace(JoinClient::kNeverProbe, around_.random.next());
    desired_ = {};
    may_send_ = was_stopped_ = is_report_due_ = false;
    trouble_.clear();
    Caller::on_start();
}

void PublisherModel::on_crash() {
    Caller::on_crash();
    may_send_ = false;
}

Message PublisherModel::hello() {
    control::PublisherHello hello;
    hello.protocol = kProtocols.newest;
    hello.publisher = peer_;
    hello.stream = wish_.stream;
    hello.start = wish_.start;
    hello.close_after_ms = wish_.close_after_ms;
    hello.transmitting = may_send_;
    if (is_report_due_) {
        after(nanoseconds(0), [this] { report(); });  // behind the hello
    }
    return control::PublisherMessage(std::move(hello));
}

Message PublisherModel::heartbeat() { return control::PublisherMessage(control::Heartbeat{}); }

void PublisherModel::on_presence(Message& message) {
    auto& reply = std::get<control::PublisherReply>(message);
    if (const auto* reject = std::get_if<control::Reject>(&reply)) {
        say("is rejected: {}", reject->reason);
        if (reject->retry_after_ms == 0) {
            leave();
            retire();
        } else {
            hang_up(milliseconds(reject->retry_after_ms));
        }
    } else if (const auto* desired = std::get_if<control::PublisherDesired>(&reply)) {
        on_desired(*desired);
    }
}

void PublisherModel::on_desired(const control::PublisherDesired& message) {
    const DesiredPublishing desired = plain(message);
    if (!gate_.admit(desired.epoch, desired.version)) {
        report();
        return;
    }
    say("is told {} {} of epoch {}",
        desired.state == DesiredPublishing::State::start  ? "START"
        : desired.state == DesiredPublishing::State::stop ? "STOP"
                                                          : "WAIT",
        desired.version,
        desired.epoch);
    if (desired.state != DesiredPublishing::State::start) {
        was_stopped_ = true;
    }
    if (desired.state != DesiredPublishing::State::start ||
        (may_send_ && desired.endpoint != desired_.endpoint)) {
        may_send_ = false;
    }
    trouble_.clear();
    desired_ = desired;
    report();
    apply(desired);
}

void PublisherModel::apply(const DesiredPublishing& desired) {
    const bool was_stopped = std::exchange(was_stopped_, false);
    if (desired.state != DesiredPublishing::State::start) {
        leave();
        return;
    }
    const bool is_there = join_->state() == JoinState::accepted && !join_->is_silent(now()) &&
                          join_->target().server == desired.endpoint;
    if (is_there && !was_stopped) {
        join_->confirm(now());
    } else {
        leave();
        ++port_;
        join_->start(
            {desired.endpoint, desired.ticket, desired.key, {}}, around_.random.next() | 1U, now());
    }
    send_due();
}

void PublisherModel::leave() {
    transmit(join_->leave_message());
    join_->stop();
    may_send_ = false;
}

void PublisherModel::transmit(std::span<const std::byte> bytes) {
    if (bytes.empty()) {
        return;
    }
    Datagram datagram;
    datagram.from = id();
    datagram.to = node_at(join_->target().server.ip);
    datagram.source = address();
    datagram.destination = join_->target().server;
    datagram.size = bytes.size();
    std::ranges::copy(bytes, datagram.bytes.begin());
    around_.network->send_datagram(datagram);
}

void PublisherModel::on_datagram(const Datagram& datagram) {
    if (datagram.destination != address()) {
        return;
    }
    const JoinState before = join_->state();
    const FlowId flow_before = join_->flow_id();
    join_->on_datagram(datagram.source, datagram.payload(), now());
    if (join_->state() == JoinState::accepted &&
        (before != JoinState::accepted || join_->flow_id() != flow_before) &&
        desired_.state == DesiredPublishing::State::start) {
        say("is accepted at {}", to_string(join_->target().server));
        may_send_ = true;
        trouble_.clear();
        report();
    }
    send_due();
}

void PublisherModel::send_due() {
    for (auto message = join_->poll(now()); !message.empty(); message = join_->poll(now())) {
        transmit(message);
    }
    if (join_->state() == JoinState::ended) {
        say("was ended: {}", join_->trouble(now()));
        may_send_ = false;
        trouble_ = join_->trouble(now());
        report();
        join_->start(join_->target(), around_.random.next() | 1U, now());
        send_due();
        return;
    }
    if (join_->take_renewal(now())) {
        trouble_ = join_->trouble(now());
        report();
    }
    const MonotonicTime next = join_->next_deadline();
    if (next != MonotonicTime::max()) {
        after(std::max(next - now(), nanoseconds(1'000'000)), [this, alarm = ++alarm_] {
            if (alarm == alarm_) {
                send_due();
            }
        });
    }
}

void PublisherModel::report() {
    is_report_due_ = !is_connected();
    if (desired_.version == 0) {
        is_report_due_ = false;
        return;
    }
    send(control::PublisherMessage(
        control::PublisherReport{desired_.version, spoken(desired_.state), may_send_, trouble_}));
}

}  // namespace penstock::simulator
