#include "simulator/consumer_model.h"

#include "base/protocol.h"
#include "simulator/checker.h"
#include "simulator/network.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

namespace penstock::simulator {
namespace {

constexpr seconds kFirstAnswerWithin{3};
constexpr milliseconds kWaitWithFlow{30'000};
constexpr milliseconds kUserLeast{200};  // until a user starts the program again
constexpr milliseconds kUserMost{1'000};
constexpr std::uint16_t kPort = 4'000;
constexpr milliseconds kLookAgain{10};  // whether content comes from the new place

}  // namespace

ConsumerModel::ConsumerModel(
    Surroundings& around, NodeId id, std::string name, std::string stream, milliseconds wait)
    : Caller(around,
             NodeKind::consumer,
             id,
             std::move(name),
             {.has_heartbeats = true, .first_answer_within = kFirstAnswerWithin}),
      stream_(std::move(stream)),
      stream_id_(stream_id_of(stream_)),
      wait_(wait) {}

Endpoint ConsumerModel::address() const {
    return {address_of(id()), static_cast<std::uint16_t>(kPort + life())};
}

JoinClient ConsumerModel::new_join() const {
    return {JoinClient::kProbeAfter, around_.random.next()};
}

void ConsumerModel::on_start() {
    peer_ = PeerId{around_.random.next() | 1U};
    gate_ = {};
    version_ = 0;
    join_.emplace(new_join());
    previous_.reset();
    is_told_to_wait_ = is_turned_away_ = had_flow_ = has_quit_ = false;
    wait_until_.reset();
    Caller::on_start();
}

void ConsumerModel::on_crash() {
    Caller::on_crash();
    join_->stop();
    previous_.reset();
}

void ConsumerModel::quit() {
    if (!is_alive() || has_quit_) {
        return;
    }
    say("quits");
    has_quit_ = true;
    leave(*join_);
    leave_previous();
    retire();
}

Message ConsumerModel::hello() {
    control::ConsumerRequest request;
    request.protocol = kProtocols.newest;
    request.consumer = peer_;
    request.stream = stream_;
    if (wait_ == milliseconds::max()) {
        request.wait_ms = std::numeric_limits<std::uint64_t>::max();
    } else {
        wait_until_ = wait_until_.value_or(now() + wait_);
        const auto left = std::chrono::ceil<milliseconds>(*wait_until_ - now());
        request.wait_ms = static_cast<std::uint64_t>(
            std::max(left, had_flow_ ? kWaitWithFlow : milliseconds(0)).count());
    }
    return control::ConsumerMessage(std::move(request));
}

Message ConsumerModel::heartbeat() { return control::ConsumerMessage(control::Heartbeat{}); }

void ConsumerModel::on_presence(Message& message) {
    auto& reply = std::get<control::ConsumerReply>(message);
    if (const auto* reject = std::get_if<control::Reject>(&reply)) {
        say("is rejected: {}", reject->reason);
        is_turned_away_ = true;
        hang_up(milliseconds(reject->retry_after_ms));
    } else if (const auto* assignment = std::get_if<control::Assignment>(&reply)) {
        on_assignment(*assignment);
    }
}

void ConsumerModel::on_assignment(const control::Assignment& assignment) {
    if (!gate_.admit(assignment.epoch, assignment.version)) {
        return;
    }
    version_ = assignment.version;
    is_turned_away_ = false;
    switch (assignment.state) {
        case control::AssignmentState::ready:
            say("is told {} at {}, epoch {}",
                assignment.version,
                assignment.data_server,
                assignment.epoch);
            break;
        case control::AssignmentState::wait:
        case control::AssignmentState::unspecified:
            say("is told {} to wait: {}", assignment.version, assignment.reason);
            break;
        case control::AssignmentState::gone:
            // receive() goes on while content comes; here the program ends at once.
            say("is told that it is gone: {}", assignment.reason);
            leave(*join_);
            leave_previous();
            retire();
            after(around_.random.between(kUserLeast, kUserMost), [this] {
                if (!has_quit_) {
                    crash(false);
                    start();
                }
            });
            return;
    }
    apply(assignment);
}

void ConsumerModel::apply(const control::Assignment& assignment) {
    note_content();
    const bool stands = join_->state() == JoinState::accepted && !join_->is_silent(now());
    is_told_to_wait_ = assignment.state != control::AssignmentState::ready;
    if (is_told_to_wait_) {
        if (!stands) {
            give_flow_up();
        }
        return;
    }
    const Endpoint& endpoint = assignment.endpoint.value();
    if (stands && join_->target().server == endpoint) {
        join_->confirm(now());
    } else if (!goes_back(endpoint)) {
        if (stands) {
            leave_previous();
            previous_ = std::exchange(join_, new_join());
        }
        JoinTarget target;
        target.server = endpoint;
        target.ticket = std::bit_cast<Ticket>(assignment.ticket.value());
        target.key.bytes = assignment.session_key.value();
        join_->start(target, around_.random.next() | 1U, now());
    }
    send_due();
}

/// The place it is just leaving is the right one after all.
bool ConsumerModel::goes_back(const Endpoint& endpoint) {
    if (!previous_ || previous_->state() != JoinState::accepted || previous_->is_silent(now()) ||
        previous_->target().server != endpoint) {
        return false;
    }
    std::swap(*join_, *previous_);
    leave_previous();
    join_->confirm(now());
    return true;
}

/// The place before is left when content comes from the new one, or from neither.
void ConsumerModel::go_on_moving() {
    if (previous_ && join_->state() == JoinState::accepted &&
        (around_.checker->is_sent(*this, join_->target().server) || place_before() == nullptr ||
         !around_.checker->is_sent(*this, *place_before()))) {
        leave_previous();
    }
}

void ConsumerModel::give_flow_up() {
    leave(*join_);
    leave_previous();
}

void ConsumerModel::leave_previous() {
    if (previous_) {
        leave(*previous_);
        previous_.reset();
    }
}

void ConsumerModel::leave(JoinClient& join) {
    transmit(join, join.leave_message());
    join.stop();
}

void ConsumerModel::transmit(const JoinClient& join, std::span<const std::byte> bytes) {
    if (bytes.empty()) {
        return;
    }
    Datagram datagram;
    datagram.from = id();
    datagram.to = node_at(join.target().server.ip);
    datagram.source = address();
    datagram.destination = join.target().server;
    datagram.size = bytes.size();
    std::ranges::copy(bytes, datagram.bytes.begin());
    around_.network->send_datagram(datagram);
}

void ConsumerModel::on_datagram(const Datagram& datagram) {
    if (datagram.destination != address() || has_quit_) {
        return;
    }
    const JoinState before = join_->state();
    const Arrival arrival = join_->on_datagram(datagram.source, datagram.payload(), now());
    if (before == JoinState::joining && join_->state() == JoinState::accepted) {
        say("has joined at {}", to_string(join_->target().server));
        had_flow_ = true;
    }
    if (arrival == Arrival::stranger && previous_) {
        previous_->on_datagram(datagram.source, datagram.payload(), now());
    }
    send_due();
}

/// Content that came meanwhile says that the data server lives.
void ConsumerModel::note_content() {
    if (place() != nullptr && around_.checker->is_sent(*this, *place())) {
        join_->on_content(now());
    }
    if (place_before() != nullptr && around_.checker->is_sent(*this, *place_before())) {
        previous_->on_content(now());
    }
}

void ConsumerModel::send_due_of(JoinClient& join) {
    for (auto message = join.poll(now()); !message.empty(); message = join.poll(now())) {
        transmit(join, message);
    }
}

void ConsumerModel::send_due() {
    note_content();
    go_on_moving();
    send_due_of(*join_);
    if (previous_) {
        send_due_of(*previous_);
        if (previous_->state() == JoinState::ended) {
            previous_.reset();
        }
    }
    const bool has_ended = join_->state() == JoinState::ended;
    if (is_told_to_wait_) {
        if (has_ended || join_->is_silent(now())) {
            give_flow_up();
        }
    } else if (has_ended || join_->take_renewal(now())) {
        send(control::ConsumerMessage(control::ConsumerRenew{version_}));
        if (has_ended) {
            say("was ended: {}", join_->trouble(now()));
            join_->start(join_->target(), around_.random.next() | 1U, now());
            send_due_of(*join_);
        }
    }
    set_alarm();
}

void ConsumerModel::set_alarm() {
    MonotonicTime next = join_->next_deadline();
    if (previous_) {
        next = std::min({next, previous_->next_deadline(), now() + kLookAgain});
    }
    if (next == MonotonicTime::max()) {
        return;
    }
    after(std::max(next - now(), nanoseconds(1'000'000)), [this, alarm = ++alarm_] {
        if (alarm == alarm_) {
            send_due();
        }
    });
}

const Endpoint* ConsumerModel::place() const {
    const bool is_there = is_wanting() && join_ && join_->state() == JoinState::accepted;
    return is_there ? &join_->target().server : nullptr;
}

const Endpoint* ConsumerModel::place_before() const {
    const bool is_there = is_wanting() && previous_ && previous_->state() == JoinState::accepted;
    return is_there ? &previous_->target().server : nullptr;
}

}  // namespace penstock::simulator
