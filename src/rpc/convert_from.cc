#include "rpc/convert.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

namespace penstock::control {
namespace {

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

bool is_printable(char c) { return c >= ' ' && c <= '~'; }

/// What a peer says in words, made fit for a log line and a table.
std::string printable(const std::string& text) {
    std::string kept = text.substr(0, kTextBytesMax);
    std::ranges::replace_if(
        kept, [](char c) { return !is_printable(c); }, '?');
    return kept;
}

Error bad_name(std::string_view whose) {
    return invalid(fmt::format(
        "the name of a {} must have 1 to {} bytes of printable ASCII", whose, kNameBytesMax));
}

Result<IpAddress> address_from(const std::string& bytes) {
    IpAddress address;
    if (bytes.size() == 4) {
        std::uint32_t host_order = 0;
        for (const char byte : bytes) {
            host_order = host_order << 8U | static_cast<unsigned char>(byte);
        }
        address = IpAddress::v4(host_order);
    } else if (bytes.size() == 16) {
        std::copy(bytes.begin(), bytes.end(), address.bytes.begin());
    } else {
        return invalid(fmt::format("an IP address has 4 or 16 bytes, not {}", bytes.size()));
    }
    if (address.is_unspecified() || address.is_multicast()) {
        return invalid(fmt::format("{} is no address of a host", to_string(address)));
    }
    return address;
}

Result<Endpoint> endpoint_from(const v1::Endpoint& message) {
    const Result<IpAddress> address = address_from(message.ip());
    if (!address) {
        return address.error();
    }
    if (message.port() == 0 || message.port() > 65'535) {
        return invalid(fmt::format("a port is 1..65535, not {}", message.port()));
    }
    return Endpoint{*address, static_cast<std::uint16_t>(message.port())};
}

Measure measure_from(const v1::Measure& message) {
    return message.supported() ? Measure(message.share()) : Measure();
}

/// A state that is not known here says nothing.
LinkState link_from(v1::LinkState state) {
    switch (state) {
        case v1::LINK_STATE_UP:
            return LinkState::up;
        case v1::LINK_STATE_DOWN:
            return LinkState::down;
        default:
            return LinkState::unknown;
    }
}

Result<DataServerMessage> from(const v1::DataServerHello& message) {
    if (!is_name(message.name())) {
        return bad_name("data server");
    }
    if (message.boot_id() == 0) {
        return invalid("a boot id must not be 0");
    }
    if (static_cast<std::size_t>(message.ports_size()) > kPortsMax) {
        return invalid(fmt::format("a data server has at most {} ports", kPortsMax));
    }
    if (message.epoch_seen() > kEpochMax || message.monotonic_ms() > kClockMsMax) {
        return invalid("epoch or clock of the hello is out of range");
    }
    DataServerHello hello;
    for (const v1::Port& port : message.ports()) {
        const Result<IpAddress> address = address_from(port.address());
        if (!address) {
            return address.error();
        }
        hello.ports.push_back({printable(port.name()),
                               printable(port.driver()),
                               *address,
                               port.link_bits_per_second()});
    }
    hello.protocol = message.protocol();
    hello.name = message.name();
    hello.boot_id = message.boot_id();
    hello.stream_port_first = message.stream_port_first();
    hello.stream_port_last = message.stream_port_last();
    hello.consumers_max = message.consumers_max();
    hello.streams_max = message.streams_max();
    hello.epoch_seen = message.epoch_seen();
    hello.applied_generation = message.applied_generation();
    hello.monotonic_ms = message.monotonic_ms();
    hello.protocol_oldest = message.protocol_oldest();
    return DataServerMessage(std::move(hello));
}

Result<DataServerMessage> from(const v1::LoadReport& message) {
    if (static_cast<std::size_t>(message.queues_size()) > kQueuesMax ||
        static_cast<std::size_t>(message.streams_size()) > kLoadStreamsMax ||
        static_cast<std::size_t>(message.ports_size()) > kPortsMax ||
        static_cast<std::size_t>(message.stuck_workers_size()) > kQueuesMax) {
        return invalid("a load report has too many queues, streams, ports or workers");
    }
    if (message.monotonic_ms() > kClockMsMax) {
        return invalid("clock of the load report is out of range");
    }
    LoadReport load;
    load.sequence = message.sequence();
    load.monotonic_ms = message.monotonic_ms();
    load.queues.reserve(static_cast<std::size_t>(message.queues_size()));
    for (const v1::QueueLoad& queue : message.queues()) {
        load.queues.push_back({queue.port(),
                               queue.worker(),
                               measure_from(queue.busy()),
                               measure_from(queue.rx_fill()),
                               measure_from(queue.tx_shortfall()),
                               measure_from(queue.missed()),
                               measure_from(queue.egress())});
    }
    load.pool_use = measure_from(message.pool_use());
    load.utilisation = message.utilisation();
    load.bottleneck = printable(message.bottleneck());
    load.packets_in = message.packets_in();
    load.copies = message.copies();
    load.copy_bytes = message.copy_bytes();
    load.drops = message.drops();
    load.streams.reserve(static_cast<std::size_t>(message.streams_size()));
    for (const v1::StreamLoad& stream : message.streams()) {
        load.streams.push_back({StreamId{stream.stream_id()},
                                stream.packets_in(),
                                stream.bytes_in(),
                                stream.copies(),
                                stream.copy_bytes(),
                                stream.dropped(),
                                stream.ring_packets(),
                                stream.ring_bytes()});
    }
    for (const v1::PortLoad& port : message.ports()) {
        load.ports.push_back({link_from(port.link()), port.silent_ms()});
    }
    load.stuck_workers.assign(message.stuck_workers().begin(), message.stuck_workers().end());
    return DataServerMessage(std::move(load));
}

Result<DataServerMessage> from(const v1::Applied& message) {
    if (message.epoch() > kEpochMax) {
        return invalid("epoch of the acknowledgement is out of range");
    }
    Applied applied;
    applied.epoch = message.epoch();
    applied.generation = message.generation();
    for (const v1::OpenedStream& opened : message.opened()) {
        const Result<Endpoint> endpoint = endpoint_from(opened.endpoint());
        if (!endpoint) {
            return endpoint.error();
        }
        applied.opened.push_back({StreamId{opened.stream_id()}, *endpoint});
    }
    for (const v1::RefusedStream& refused : message.refused()) {
        applied.refused.push_back({StreamId{refused.stream_id()}, printable(refused.reason())});
    }
    return DataServerMessage(std::move(applied));
}

Result<DataServerMessage> from(const v1::StreamReport& message) {
    if (!is_name(message.name())) {
        return bad_name("stream");
    }
    if (static_cast<std::size_t>(message.consumers_size()) > kFlowsMax) {
        return invalid(fmt::format("a stream report has at most {} consumers", kFlowsMax));
    }
    const Result<Endpoint> endpoint = endpoint_from(message.endpoint());
    if (!endpoint) {
        return endpoint.error();
    }
    StreamReport report;
    report.stream = StreamId{message.stream_id()};
    report.name = message.name();
    report.endpoint = *endpoint;
    report.publisher = PeerId{message.publisher_id()};
    if (message.publisher_id() != 0) {
        const Result<Endpoint> address = endpoint_from(message.publisher_address());
        if (!address) {
            return address.error();
        }
        report.publisher_address = *address;
    }
    for (const v1::ConsumerFlow& flow : message.consumers()) {
        const Result<Endpoint> address = endpoint_from(flow.address());
        if (!address) {
            return address.error();
        }
        report.consumers.push_back({PeerId{flow.consumer_id()},
                                    *address,
                                    flow.copies(),
                                    flow.copy_bytes(),
                                    flow.lost(),
                                    flow.history_left()});
    }
    report.continued = message.continued();
    return DataServerMessage(std::move(report));
}

Result<DataServerReply> from(const v1::DataServerWelcome& message) {
    DataServerWelcome welcome;
    if (message.epoch() == 0 || message.epoch() > kEpochMax) {
        return invalid("epoch of the welcome is out of range");
    }
    if (message.ticket_key().size() != welcome.ticket_key.size() ||
        message.ticket_key_id() > std::numeric_limits<std::uint16_t>::max()) {
        return invalid("the welcome has no whole ticket key");
    }
    welcome.epoch = message.epoch();
    welcome.load_interval_ms = message.load_interval_ms();
    welcome.ticket_key_id = static_cast<std::uint16_t>(message.ticket_key_id());
    std::ranges::copy(message.ticket_key(), welcome.ticket_key.begin());
    return DataServerReply(welcome);
}

Result<DataServerReply> from(const v1::StreamSet& message) {
    StreamSet set;
    if (message.epoch() == 0 || message.epoch() > kEpochMax) {
        return invalid("epoch of the stream set is out of range");
    }
    set.epoch = message.epoch();
    set.generation = message.generation();
    set.base_generation = message.base_generation();
    set.keep_others = message.keep_others();
    for (const v1::DesiredStream& desired : message.open()) {
        if (desired.stream_id() == 0 || !is_name(desired.name())) {
            return bad_name("stream");
        }
        set.open.push_back({StreamId{desired.stream_id()},
                            desired.name(),
                            PeerId{desired.publisher_id()},
                            desired.max_bits_per_second()});
    }
    for (const std::uint64_t stream : message.close()) {
        set.close.push_back(StreamId{stream});
    }
    return DataServerReply(std::move(set));
}

Result<PublisherMessage> from(const v1::PublisherHello& message) {
    if (!is_name(message.stream())) {
        return bad_name("stream");
    }
    if (message.publisher_id() == 0) {
        return invalid("a publisher's id must not be 0");
    }
    if (message.start() != v1::START_POLICY_PUBLISH && message.start() != v1::START_POLICY_DEMAND) {
        return invalid("the start policy is neither publish nor demand");
    }
    if (message.max_bits_per_second() > kDeclaredRateMax) {  // or sums of them could overflow
        return invalid("a stream cannot take more than 1 Tbit/s");
    }
    return PublisherMessage(PublisherHello{
        message.protocol(),
        PeerId{message.publisher_id()},
        message.stream(),
        message.start() == v1::START_POLICY_DEMAND ? StartPolicy::demand : StartPolicy::publish,
        message.max_bits_per_second(),
        message.close_after_ms(),
        message.transmitting(),
        message.protocol_oldest()});
}

Result<PublisherMessage> from(const v1::PublisherReport& message) {
    PublisherReport report{message.version(),
                           DesiredState::unspecified,
                           message.transmitting(),
                           printable(message.trouble())};
    switch (message.state()) {
        case v1::DESIRED_STATE_WAIT:
            report.state = DesiredState::wait;
            break;
        case v1::DESIRED_STATE_START:
            report.state = DesiredState::start;
            break;
        case v1::DESIRED_STATE_STOP:
            report.state = DesiredState::stop;
            break;
        default:
            return invalid("a publisher's state is none of WAIT, START and STOP");
    }
    return PublisherMessage(std::move(report));
}

Result<ConsumerMessage> from(const v1::ConsumerRequest& message) {
    if (!is_name(message.stream())) {
        return bad_name("stream");
    }
    if (message.consumer_id() == 0) {
        return invalid("a consumer's id must not be 0");
    }
    return ConsumerMessage(ConsumerRequest{message.protocol(),
                                           PeerId{message.consumer_id()},
                                           message.stream(),
                                           message.wait_ms(),
                                           message.protocol_oldest()});
}

}  // namespace

bool is_name(std::string_view text) noexcept {
    return !text.empty() && text.size() <= kNameBytesMax && std::ranges::all_of(text, is_printable);
}

Result<DataServerMessage> from_proto(const v1::DataServerUp& message) {
    switch (message.message_case()) {
        case v1::DataServerUp::kHello:
            return from(message.hello());
        case v1::DataServerUp::kLoad:
            return from(message.load());
        case v1::DataServerUp::kApplied:
            return from(message.applied());
        case v1::DataServerUp::kStream:
            return from(message.stream());
        case v1::DataServerUp::kReportsDone:
            return DataServerMessage(ReportsDone{});
        case v1::DataServerUp::MESSAGE_NOT_SET:
            break;
    }
    return invalid("a message of a kind not known here");
}

Result<DataServerReply> from_proto(const v1::DataServerDown& message) {
    switch (message.message_case()) {
        case v1::DataServerDown::kWelcome:
            return from(message.welcome());
        case v1::DataServerDown::kStreams:
            return from(message.streams());
        case v1::DataServerDown::kReject:
            return DataServerReply(Reject{printable(message.reject().reason()),
                                          message.reject().retry_after_ms(),
                                          printable(message.reject().leader())});
        case v1::DataServerDown::MESSAGE_NOT_SET:
            break;
    }
    return invalid("a message of a kind not known here");
}

Result<PublisherMessage> from_proto(const v1::PublisherUp& message) {
    switch (message.message_case()) {
        case v1::PublisherUp::kHello:
            return from(message.hello());
        case v1::PublisherUp::kReport:
            return from(message.report());
        case v1::PublisherUp::kHeartbeat:
            return PublisherMessage(Heartbeat{});
        case v1::PublisherUp::MESSAGE_NOT_SET:
            break;
    }
    return invalid("a message of a kind not known here");
}

Result<ConsumerMessage> from_proto(const v1::ConsumerUp& message) {
    switch (message.message_case()) {
        case v1::ConsumerUp::kRequest:
            return from(message.request());
        case v1::ConsumerUp::kRenew:
            return ConsumerMessage(ConsumerRenew{message.renew().version()});
        case v1::ConsumerUp::kHeartbeat:
            return ConsumerMessage(Heartbeat{});
        case v1::ConsumerUp::MESSAGE_NOT_SET:
            break;
    }
    return invalid("a message of a kind not known here");
}

}  // namespace penstock::control
