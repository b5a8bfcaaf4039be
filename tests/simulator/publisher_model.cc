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
            if (message.also.has_value()) {
                desired.also = PublishPlace{message.also->data_server,
                                            message.also->endpoint,
                                            std::bit_cast<Ticket>(message.also->ticket),
                                            SessionKey{message.also->session_key}};
            }
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

Endpoint PublisherModel::address_of_path(const Path& path) const {
    return {address_of(id()), path.port};
}

bool PublisherModel::feeds(const Endpoint& endpoint, const Endpoint& from) const {
    return is_running() && ((path_.feeds(endpoint) && address_of_path(path_) == from) ||
                            (other_.feeds(endpoint) && address_of_path(other_) == from));
}

void PublisherModel::on_start() {
    peer_ = PeerId{around_.random.next() | 1U};
    gate_ = {};
    for (Path* path : {&path_, &other_}) {
        path->join.emplace(JoinClient::kNeverProbe, around_.random.next());
        path->may_send = false;
    }
    desired_ = {};
    is_transmitting_ = is_report_due_ = false;
    trouble_.clear();
    Caller::on_start();
}

void PublisherModel::on_crash() {
    Caller::on_crash();
    path_.may_send = other_.may_send = false;
}

Message PublisherModel::hello() {
    control::PublisherHello hello;
    hello.protocol = kProtocols.newest;
    hello.publisher = peer_;
    hello.stream = wish_.stream;
    hello.start = wish_.start;
    hello.close_after_ms = wish_.close_after_ms;
    hello.transmitting = desired_.state == DesiredPublishing::State::start;
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
            leave(path_);
            leave(other_);
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
    const bool is_start = desired.state == DesiredPublishing::State::start;
    say("is told {} {} of epoch {}{}",
        is_start                                          ? "START"
        : desired.state == DesiredPublishing::State::stop ? "STOP"
                                                          : "WAIT",
        desired.version,
        desired.epoch,
        desired.also.has_value() ? ", in two places" : "");
    const auto keeps = [&](const Path& path) {
        const Endpoint& place = path.join->target().server;
        return path.may_send && (place == desired.endpoint ||
                                 (desired.also.has_value() && place == desired.also->endpoint));
    };
    is_transmitting_ = is_start && is_transmitting_ && (keeps(path_) || keeps(other_));
    trouble_.clear();
    desired_ = desired;
    if (!is_start) {
        path_.may_send = other_.may_send = false;
    }
    report();
    apply(desired);
}

void PublisherModel::apply(const DesiredPublishing& desired) {
    if (desired.state != DesiredPublishing::State::start) {
        leave(path_);
        leave(other_);
        return;
    }
    const auto is_there = [&](const Path& path) {
        return path.join->state() == JoinState::accepted && !path.join->is_silent(now()) &&
               path.join->target().server == desired.endpoint;
    };
    const bool joins_there = other_.join->state() == JoinState::joining &&
                             other_.join->target().server == desired.endpoint;
    const bool has_moved = !is_there(path_) && (is_there(other_) || joins_there);
    if (has_moved) {
        std::swap(path_, other_);
    }
    apply_other(desired.also);
    if (is_there(path_)) {
        path_.join->confirm(now());
    } else if (!has_moved) {
        leave(path_);
        join(path_, {desired.data_server, desired.endpoint, desired.ticket, desired.key});
    }
    send_due();
}

void PublisherModel::apply_other(const std::optional<PublishPlace>& place) {
    const JoinState state = other_.join->state();
    const bool is_there = place && (state == JoinState::accepted || state == JoinState::joining) &&
                          other_.join->target().server == place->endpoint;
    if (is_there) {
        if (state == JoinState::accepted) {
            other_.join->confirm(now());
        }
        return;
    }
    leave(other_);
    if (place) {
        join(other_, *place);
    }
}

void PublisherModel::join(Path& path, const PublishPlace& place) {
    path.port = ++newest_port_;
    path.join->start(
        {place.endpoint, place.ticket, place.key, {}}, around_.random.next() | 1U, now());
}

void PublisherModel::leave(Path& path) {
    transmit(path, path.join->leave_message());
    path.join->stop();
    path.may_send = false;
}

void PublisherModel::transmit(const Path& path, std::span<const std::byte> bytes) {
    if (bytes.empty()) {
        return;
    }
    Datagram datagram;
    datagram.from = id();
    datagram.to = node_at(path.join->target().server.ip);
    datagram.source = address_of_path(path);
    datagram.destination = path.join->target().server;
    datagram.size = bytes.size();
    std::ranges::copy(bytes, datagram.bytes.begin());
    around_.network->send_datagram(datagram);
}

void PublisherModel::on_datagram(const Datagram& datagram) {
    if (receive(path_, datagram)) {
        accepted();
    } else if (receive(other_, datagram) && desired_.state == DesiredPublishing::State::start) {
        say("is accepted at {}, too", to_string(other_.join->target().server));
        other_.may_send = true;
    }
    send_due();
}

bool PublisherModel::receive(Path& path, const Datagram& datagram) {
    if (datagram.destination != address_of_path(path)) {
        return false;
    }
    const JoinState before = path.join->state();
    const FlowId flow_before = path.join->flow_id();
    path.join->on_datagram(datagram.source, datagram.payload(), now());
    return path.join->state() == JoinState::accepted &&
           (before != JoinState::accepted || path.join->flow_id() != flow_before);
}

void PublisherModel::accepted() {
    if (desired_.state != DesiredPublishing::State::start ||
        desired_.endpoint != path_.join->target().server) {
        return;
    }
    say("is accepted at {}", to_string(path_.join->target().server));
    path_.may_send = true;
    is_transmitting_ = true;
    trouble_.clear();
    report();
}

void PublisherModel::send_messages(Path& path) {
    for (auto message = path.join->poll(now()); !message.empty();
         message = path.join->poll(now())) {
        transmit(path, message);
    }
}

void PublisherModel::send_due() {
    send_messages(path_);
    send_messages(other_);
    if (other_.join->state() == JoinState::ended) {
        leave(other_);
    }
    if (path_.join->state() == JoinState::ended) {
        say("was ended: {}", path_.join->trouble(now()));
        path_.may_send = false;
        is_transmitting_ = false;
        trouble_ = path_.join->trouble(now());
        report();
        path_.join->start(path_.join->target(), around_.random.next() | 1U, now());
        send_due();
        return;
    }
    if (path_.join->take_renewal(now())) {
        trouble_ = path_.join->trouble(now());
        report();
    }
    set_alarm();
}

void PublisherModel::set_alarm() {
    const MonotonicTime next = std::min(path_.join->next_deadline(), other_.join->next_deadline());
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
    send(control::PublisherMessage(control::PublisherReport{
        desired_.version, spoken(desired_.state), is_transmitting_, trouble_}));
}

}  // namespace penstock::simulator
