#include "data_server/presence_messages_session.h"

#include "presence.pb.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

namespace penstock {
namespace {

constexpr std::uint32_t kProtocol = 1;
constexpr std::size_t kNameBytesMax = 255;
constexpr int kStreamsPerSetMax = 20'000;

std::string bytes_of_ip(const IpAddress& ip) {
    const std::size_t skip = ip.is_v4() ? 12 : 0;
    return {ip.bytes.begin() + static_cast<std::ptrdiff_t>(skip), ip.bytes.end()};
}

void set_endpoint(const Endpoint& endpoint, v1::Endpoint& message) {
    message.set_ip(bytes_of_ip(endpoint.ip));
    message.set_port(endpoint.port);
}

void set_measure(const Measure& measure, v1::Measure& message) {
    message.set_supported(measure.has_value());
    message.set_share(measure.value_or(0));
}

void set_applied(const Applied& applied, v1::Applied& message) {
    message.set_epoch(applied.epoch);
    message.set_generation(applied.generation);
    for (const OpenedStream& opened : applied.opened) {
        v1::OpenedStream& entry = *message.add_opened();
        entry.set_stream_id(opened.stream.value);
        set_endpoint(opened.endpoint, *entry.mutable_endpoint());
    }
    for (const RefusedStream& refused : applied.refused) {
        v1::RefusedStream& entry = *message.add_refused();
        entry.set_stream_id(refused.stream.value);
        entry.set_reason(refused.reason);
    }
}

void set_stream(const StreamReport& report, v1::StreamReport& message) {
    message.set_stream_id(report.stream.value);
    message.set_name(report.name);
    set_endpoint(report.endpoint, *message.mutable_endpoint());
    message.set_publisher_id(report.publisher.value);
    if (report.publisher) {
        set_endpoint(report.publisher_address, *message.mutable_publisher_address());
    }
    for (const ConsumerReport& consumer : report.consumers) {
        v1::ConsumerFlow& flow = *message.add_consumers();
        flow.set_consumer_id(consumer.consumer.value);
        set_endpoint(consumer.address, *flow.mutable_address());
        flow.set_copies(consumer.copies);
        flow.set_copy_bytes(consumer.copy_bytes);
        flow.set_lost(consumer.lost);
        flow.set_history_left(consumer.history_left);
    }
    message.set_continued(report.continued);
    message.set_sequence(report.sequence);
}

void set_queue(const QueueLoad& queue, v1::QueueLoad& message) {
    message.set_port(queue.port);
    message.set_worker(queue.worker);
    set_measure(queue.busy, *message.mutable_busy());
    set_measure(queue.rx_fill, *message.mutable_rx_fill());
    set_measure(queue.tx_shortfall, *message.mutable_tx_shortfall());
    set_measure(queue.missed, *message.mutable_missed());
    set_measure(queue.egress, *message.mutable_egress());
}

Error not_ours(std::string_view what) {
    return {ErrorCode::invalid_argument, fmt::format("its message is not valid: {}", what)};
}

bool is_name(std::string_view text) noexcept {
    return !text.empty() && text.size() <= kNameBytesMax &&
           std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f'; });
}

Result<DownMessage> from_welcome(const v1::DataServerWelcome& message,
                                 const std::string& presence) {
    Welcome welcome;
    if (message.ticket_key().size() != welcome.ticket_key.bytes.size() ||
        message.ticket_key_id() > std::numeric_limits<std::uint16_t>::max() ||
        message.epoch() == 0) {
        return not_ours("welcome without a ticket key or an epoch");
    }
    welcome.presence = presence;
    welcome.epoch = message.epoch();
    welcome.ticket_key_id = static_cast<std::uint16_t>(message.ticket_key_id());
    std::ranges::copy(message.ticket_key(), welcome.ticket_key.bytes.begin());
    return DownMessage{welcome};
}

Result<DownMessage> from_streams(const v1::StreamSet& message) {
    StreamSet set;
    set.epoch = message.epoch();
    set.generation = message.generation();
    set.base_generation = message.base_generation();
    if (message.open_size() > kStreamsPerSetMax || message.close_size() > kStreamsPerSetMax) {
        return not_ours("too many streams in one set");
    }
    for (const v1::DesiredStream& desired : message.open()) {
        if (desired.stream_id() == 0 || !is_name(desired.name())) {
            return not_ours("a stream without an id or a printable name");
        }
        set.open.push_back({StreamId{desired.stream_id()},
                            desired.name(),
                            PeerId{desired.publisher_id()},
                            desired.max_bits_per_second()});
    }
    for (const std::uint64_t stream : message.close()) {
        set.close.push_back(StreamId{stream});
    }
    return DownMessage{std::move(set)};
}

}  // namespace

v1::DataServerUp to_message(const Hello& hello,
                            std::uint64_t epoch,
                            std::uint64_t generation,
                            std::uint64_t monotonic_ms) {
    v1::DataServerUp message;
    v1::DataServerHello& to = *message.mutable_hello();
    to.set_protocol(kProtocol);
    to.set_name(hello.name);
    to.set_boot_id(hello.boot_id);
    for (const PortHello& port : hello.ports) {
        v1::Port& entry = *to.add_ports();
        entry.set_name(port.name);
        entry.set_driver(port.driver);
        entry.set_address(bytes_of_ip(port.address));
        entry.set_link_bits_per_second(port.link_bits_per_second);
    }
    to.set_stream_port_first(hello.stream_port_first);
    to.set_stream_port_last(hello.stream_port_last);
    to.set_consumers_max(hello.consumers_max);
    to.set_streams_max(hello.streams_max);
    to.set_epoch_seen(epoch);
    to.set_applied_generation(generation);
    to.set_monotonic_ms(monotonic_ms);
    return message;
}

v1::DataServerUp to_message(const LoadReport& report) {
    v1::DataServerUp message;
    v1::LoadReport& to = *message.mutable_load();
    to.set_sequence(report.sequence);
    to.set_monotonic_ms(report.monotonic_ms);
    for (const QueueLoad& queue : report.queues) {
        set_queue(queue, *to.add_queues());
    }
    set_measure(report.pool_use, *to.mutable_pool_use());
    to.set_utilisation(report.utilisation);
    to.set_bottleneck(report.bottleneck);
    to.set_packets_in(report.packets_in);
    to.set_copies(report.copies);
    to.set_copy_bytes(report.copy_bytes);
    to.set_drops(report.drops);
    for (const StreamLoad& load : report.streams) {
        v1::StreamLoad& entry = *to.add_streams();
        entry.set_stream_id(load.stream.value);
        entry.set_packets_in(load.packets_in);
        entry.set_bytes_in(load.bytes_in);
        entry.set_copies(load.copies);
        entry.set_copy_bytes(load.copy_bytes);
        entry.set_dropped(load.dropped);
        entry.set_ring_packets(load.ring_packets);
        entry.set_ring_bytes(load.ring_bytes);
    }
    return message;
}

v1::DataServerUp to_message(const UpMessage& message) {
    v1::DataServerUp to;
    if (const auto* applied = std::get_if<Applied>(&message)) {
        set_applied(*applied, *to.mutable_applied());
    } else if (const auto* report = std::get_if<StreamReport>(&message)) {
        set_stream(*report, *to.mutable_stream());
    } else {
        to.mutable_reports_done();
    }
    return to;
}

Result<DownMessage> from_message(const v1::DataServerDown& message, const std::string& presence) {
    switch (message.message_case()) {
        case v1::DataServerDown::kWelcome:
            return from_welcome(message.welcome(), presence);
        case v1::DataServerDown::kStreams:
            return from_streams(message.streams());
        case v1::DataServerDown::kReject:
            return Error{ErrorCode::denied,
                         fmt::format("it rejects us: {}", message.reject().reason())};
        case v1::DataServerDown::MESSAGE_NOT_SET:
            break;
    }
    return not_ours("neither welcome, streams nor reject");
}

}  // namespace penstock
