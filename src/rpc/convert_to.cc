#include "rpc/convert.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace penstock::control {
namespace {

std::string bytes_of(const IpAddress& address) {
    const std::string all(address.bytes.begin(), address.bytes.end());
    return address.is_v4() ? all.substr(12) : all;
}

template <std::size_t Size>
std::string string_of(const std::array<std::uint8_t, Size>& bytes) {
    return std::string(bytes.begin(), bytes.end());
}

v1::Measure to_proto(const Measure& measure) {
    v1::Measure message;
    message.set_supported(measure.has_value());
    message.set_share(measure.value_or(0));
    return message;
}

v1::Reject to_proto(const Reject& reject) {
    v1::Reject message;
    message.set_reason(reject.reason);
    message.set_retry_after_ms(reject.retry_after_ms);
    message.set_leader(reject.leader);
    return message;
}

v1::DataServerWelcome to_proto(const DataServerWelcome& welcome) {
    v1::DataServerWelcome message;
    message.set_epoch(welcome.epoch);
    message.set_load_interval_ms(welcome.load_interval_ms);
    message.set_ticket_key_id(welcome.ticket_key_id);
    message.set_ticket_key(string_of(welcome.ticket_key));
    return message;
}

v1::StreamSet to_proto(const StreamSet& set) {
    v1::StreamSet message;
    message.set_epoch(set.epoch);
    message.set_generation(set.generation);
    message.set_base_generation(set.base_generation);
    message.set_keep_others(set.keep_others);
    for (const DesiredStream& desired : set.open) {
        v1::DesiredStream& open = *message.add_open();
        open.set_stream_id(desired.stream.value);
        open.set_name(desired.name);
        open.set_publisher_id(desired.publisher.value);
        open.set_max_bits_per_second(desired.max_bits_per_second);
    }
    for (const StreamId close : set.close) {
        message.add_close(close.value);
    }
    return message;
}

v1::DesiredState to_proto(DesiredState state) {
    switch (state) {
        case DesiredState::wait:
            return v1::DESIRED_STATE_WAIT;
        case DesiredState::start:
            return v1::DESIRED_STATE_START;
        case DesiredState::stop:
            return v1::DESIRED_STATE_STOP;
        case DesiredState::unspecified:
            break;
    }
    return v1::DESIRED_STATE_UNSPECIFIED;
}

v1::AssignmentState to_proto(AssignmentState state) {
    switch (state) {
        case AssignmentState::wait:
            return v1::ASSIGNMENT_STATE_WAIT;
        case AssignmentState::ready:
            return v1::ASSIGNMENT_STATE_READY;
        case AssignmentState::gone:
            return v1::ASSIGNMENT_STATE_GONE;
        case AssignmentState::unspecified:
            break;
    }
    return v1::ASSIGNMENT_STATE_UNSPECIFIED;
}

/// Endpoint, ticket and session key: of a directed publisher and of a ready consumer.
template <typename Message, typename Struct>
void set_permission(Message& message, const Struct& source) {
    if (source.endpoint.has_value()) {
        *message.mutable_endpoint() = control::to_proto(*source.endpoint);
    }
    if (source.ticket.has_value()) {
        message.set_ticket(string_of(*source.ticket));
    }
    if (source.session_key.has_value()) {
        message.set_session_key(string_of(*source.session_key));
    }
}

v1::PublisherDesired to_proto(const PublisherDesired& desired) {
    v1::PublisherDesired message;
    message.set_epoch(desired.epoch);
    message.set_version(desired.version);
    message.set_state(to_proto(desired.state));
    message.set_data_server(desired.data_server);
    set_permission(message, desired);
    if (desired.also.has_value()) {
        v1::Place& place = *message.mutable_also();
        place.set_data_server(desired.also->data_server);
        *place.mutable_endpoint() = control::to_proto(desired.also->endpoint);
        place.set_ticket(string_of(desired.also->ticket));
        place.set_session_key(string_of(desired.also->session_key));
    }
    return message;
}

v1::Assignment to_proto(const Assignment& assignment) {
    v1::Assignment message;
    message.set_epoch(assignment.epoch);
    message.set_version(assignment.version);
    message.set_state(to_proto(assignment.state));
    message.set_reason(assignment.reason);
    message.set_data_server(assignment.data_server);
    message.set_keepalive_ms(assignment.keepalive_ms);
    message.set_retry_after_ms(assignment.retry_after_ms);
    set_permission(message, assignment);
    return message;
}

v1::DataServerHello to_proto(const DataServerHello& hello) {
    v1::DataServerHello message;
    message.set_protocol(hello.protocol);
    message.set_protocol_oldest(hello.protocol_oldest);
    message.set_name(hello.name);
    message.set_boot_id(hello.boot_id);
    for (const Port& port : hello.ports) {
        *message.add_ports() = control::to_proto(port);
    }
    message.set_stream_port_first(hello.stream_port_first);
    message.set_stream_port_last(hello.stream_port_last);
    message.set_consumers_max(hello.consumers_max);
    message.set_streams_max(hello.streams_max);
    message.set_epoch_seen(hello.epoch_seen);
    message.set_applied_generation(hello.applied_generation);
    message.set_monotonic_ms(hello.monotonic_ms);
    return message;
}

v1::Applied to_proto(const Applied& applied) {
    v1::Applied message;
    message.set_epoch(applied.epoch);
    message.set_generation(applied.generation);
    for (const OpenedStream& opened : applied.opened) {
        v1::OpenedStream& added = *message.add_opened();
        added.set_stream_id(opened.stream.value);
        *added.mutable_endpoint() = control::to_proto(opened.endpoint);
    }
    for (const RefusedStream& refused : applied.refused) {
        v1::RefusedStream& added = *message.add_refused();
        added.set_stream_id(refused.stream.value);
        added.set_reason(refused.reason);
    }
    return message;
}

v1::StreamReport to_proto(const StreamReport& report) {
    v1::StreamReport message;
    message.set_stream_id(report.stream.value);
    message.set_name(report.name);
    *message.mutable_endpoint() = control::to_proto(report.endpoint);
    message.set_publisher_id(report.publisher.value);
    if (report.publisher) {
        *message.mutable_publisher_address() = control::to_proto(report.publisher_address);
    }
    for (const ConsumerFlow& flow : report.consumers) {
        *message.add_consumers() = control::to_proto(flow);
    }
    message.set_continued(report.continued);
    return message;
}

}  // namespace

v1::DataServerUp to_proto(const DataServerMessage& message) {
    v1::DataServerUp up;
    if (const auto* hello = std::get_if<DataServerHello>(&message)) {
        *up.mutable_hello() = to_proto(*hello);
    } else if (const auto* load = std::get_if<LoadReport>(&message)) {
        *up.mutable_load() = to_proto(*load);
    } else if (const auto* applied = std::get_if<Applied>(&message)) {
        *up.mutable_applied() = to_proto(*applied);
    } else if (const auto* report = std::get_if<StreamReport>(&message)) {
        *up.mutable_stream() = to_proto(*report);
    } else {
        up.mutable_reports_done();
    }
    return up;
}

v1::DataServerDown to_proto(const DataServerReply& reply) {
    v1::DataServerDown message;
    if (const auto* welcome = std::get_if<DataServerWelcome>(&reply)) {
        *message.mutable_welcome() = to_proto(*welcome);
    } else if (const auto* set = std::get_if<StreamSet>(&reply)) {
        *message.mutable_streams() = to_proto(*set);
    } else {
        *message.mutable_reject() = to_proto(std::get<Reject>(reply));
    }
    return message;
}

v1::PublisherDown to_proto(const PublisherReply& reply) {
    v1::PublisherDown message;
    if (const auto* desired = std::get_if<PublisherDesired>(&reply)) {
        *message.mutable_desired() = to_proto(*desired);
    } else if (std::holds_alternative<Heartbeat>(reply)) {
        message.mutable_heartbeat();
    } else {
        *message.mutable_reject() = to_proto(std::get<Reject>(reply));
    }
    return message;
}

v1::ConsumerDown to_proto(const ConsumerReply& reply) {
    v1::ConsumerDown message;
    if (const auto* assignment = std::get_if<Assignment>(&reply)) {
        *message.mutable_assignment() = to_proto(*assignment);
    } else if (std::holds_alternative<Heartbeat>(reply)) {
        message.mutable_heartbeat();
    } else {
        *message.mutable_reject() = to_proto(std::get<Reject>(reply));
    }
    return message;
}

v1::Endpoint to_proto(const Endpoint& endpoint) {
    v1::Endpoint message;
    message.set_ip(bytes_of(endpoint.ip));
    message.set_port(endpoint.port);
    return message;
}

v1::Port to_proto(const Port& port) {
    v1::Port message;
    message.set_name(port.name);
    message.set_driver(port.driver);
    message.set_address(bytes_of(port.address));
    message.set_link_bits_per_second(port.link_bits_per_second);
    return message;
}

v1::StreamLoad to_proto(const StreamLoad& load) {
    v1::StreamLoad message;
    message.set_stream_id(load.stream.value);
    message.set_packets_in(load.packets_in);
    message.set_bytes_in(load.bytes_in);
    message.set_copies(load.copies);
    message.set_copy_bytes(load.copy_bytes);
    message.set_dropped(load.dropped);
    message.set_ring_packets(load.ring_packets);
    message.set_ring_bytes(load.ring_bytes);
    return message;
}

v1::LoadReport to_proto(const LoadReport& load) {
    v1::LoadReport message;
    message.set_sequence(load.sequence);
    message.set_monotonic_ms(load.monotonic_ms);
    for (const QueueLoad& queue : load.queues) {
        v1::QueueLoad& added = *message.add_queues();
        added.set_port(queue.port);
        added.set_worker(queue.worker);
        *added.mutable_busy() = to_proto(queue.busy);
        *added.mutable_rx_fill() = to_proto(queue.rx_fill);
        *added.mutable_tx_shortfall() = to_proto(queue.tx_shortfall);
        *added.mutable_missed() = to_proto(queue.missed);
        *added.mutable_egress() = to_proto(queue.egress);
    }
    *message.mutable_pool_use() = to_proto(load.pool_use);
    message.set_utilisation(load.utilisation);
    message.set_bottleneck(load.bottleneck);
    message.set_packets_in(load.packets_in);
    message.set_copies(load.copies);
    message.set_copy_bytes(load.copy_bytes);
    message.set_drops(load.drops);
    for (const StreamLoad& stream : load.streams) {
        *message.add_streams() = to_proto(stream);
    }
    for (const PortLoad& port : load.ports) {
        v1::PortLoad& added = *message.add_ports();
        added.set_link(port.link == LinkState::up     ? v1::LINK_STATE_UP
                       : port.link == LinkState::down ? v1::LINK_STATE_DOWN
                                                      : v1::LINK_STATE_UNKNOWN);
        added.set_silent_ms(port.silent_ms);
    }
    for (const std::uint32_t worker : load.stuck_workers) {
        message.add_stuck_workers(worker);
    }
    return message;
}

v1::ConsumerFlow to_proto(const ConsumerFlow& flow) {
    v1::ConsumerFlow message;
    message.set_consumer_id(flow.consumer.value);
    *message.mutable_address() = to_proto(flow.address);
    message.set_copies(flow.copies);
    message.set_copy_bytes(flow.copy_bytes);
    message.set_lost(flow.lost);
    message.set_history_left(flow.history_left);
    return message;
}

}  // namespace penstock::control
