#include "presence_load/peers.h"

#include "base/protocol.h"
#include "wire/ticket.h"

#include <fmt/format.h>

#include <chrono>
#include <map>
#include <utility>

namespace penstock::bench {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kStreamsMax = 1000;
constexpr std::uint32_t kConsumersMax = 65'536;
constexpr std::size_t kQueues = 4;
constexpr double kUtilisation = 0.3;
constexpr std::uint64_t kPacketsAnInterval = 50;
constexpr std::uint64_t kPayloadBytes = 1316;
constexpr std::uint64_t kWaitMs = 5000;

std::string address_of(std::uint32_t host_order) {
    std::string bytes;
    for (const unsigned shift : {24U, 16U, 8U, 0U}) {
        bytes.push_back(static_cast<char>(host_order >> shift & 0xffU));
    }
    return bytes;
}

/// 10.x.y.z of a data server.
std::string data_address(std::size_t number) {
    return address_of(0x0a000001U + static_cast<std::uint32_t>(number));
}

std::uint64_t monotonic_ms() {
    const auto since_boot = monotonic_now().time_since_epoch();
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(since_boot).count());
}

v1::DataServerUp hello_of(const std::string& name, const std::string& address) {
    v1::DataServerUp up;
    v1::DataServerHello& hello = *up.mutable_hello();
    hello.set_protocol(kProtocols.newest);
    hello.set_protocol_oldest(kProtocols.oldest);
    hello.set_name(name);
    hello.set_boot_id(random_u64());
    hello.set_streams_max(kStreamsMax);
    hello.set_consumers_max(kConsumersMax);
    hello.set_monotonic_ms(monotonic_ms());
    v1::Port& port = *hello.add_ports();
    port.set_name("0000:81:00.0");
    port.set_driver("net_ice");
    port.set_address(address);
    port.set_link_bits_per_second(100'000'000'000);
    return up;
}

/// As a data server with one port and some workers reports; only counters change.
v1::DataServerUp load_of(std::size_t first_stream, std::size_t active) {
    v1::DataServerUp up;
    v1::LoadReport& load = *up.mutable_load();
    for (std::size_t i = 0; i < kQueues; ++i) {
        v1::QueueLoad& queue = *load.add_queues();
        queue.set_worker(static_cast<std::uint32_t>(i));
        for (v1::Measure* measure : {queue.mutable_busy(),
                                     queue.mutable_rx_fill(),
                                     queue.mutable_tx_shortfall(),
                                     queue.mutable_missed(),
                                     queue.mutable_egress()}) {
            measure->set_supported(true);
            measure->set_share(kUtilisation / 2);
        }
    }
    load.mutable_pool_use()->set_supported(true);
    load.mutable_pool_use()->set_share(kUtilisation / 2);
    load.set_utilisation(kUtilisation);
    load.set_bottleneck("port 0 egress");
    load.add_ports()->set_link(v1::LINK_STATE_UP);
    std::map<std::uint64_t, std::size_t> ids;  // in the order of their ids, as reports are
    for (std::size_t i = 0; i < active; ++i) {
        ids[stream_id_of(stream_name(first_stream + i)).value] = i;
    }
    for (const auto& [id, number] : ids) {
        load.add_streams()->set_stream_id(id);
    }
    return up;
}

}  // namespace

std::shared_ptr<Connection> connect(Surroundings& surroundings) {
    return std::make_shared<Connection>(surroundings.network,
                                        surroundings.presence,
                                        surroundings.tls ? &*surroundings.tls : nullptr);
}

std::string stream_name(std::size_t number) {
    return fmt::format("studio-{}/camera-{}", number % 100, number);
}

DataServerPeer::DataServerPeer(Surroundings& surroundings,
                               std::size_t number,
                               std::size_t streams,
                               std::size_t active)
    : name_(fmt::format("rack{:02}-ds{:04}", number / 40, number)),
      address_(data_address(number)),
      load_(load_of(number * streams, active)) {
    open(connect(surroundings), "/penstock.v1.DataServers/Session");
    write(hello_of(name_, address_));
    for (std::size_t i = 0; i < streams; ++i) {
        const std::string name = stream_name(number * streams + i);
        v1::DataServerUp up;
        v1::StreamReport& report = *up.mutable_stream();
        report.set_stream_id(stream_id_of(name).value);
        report.set_name(name);
        report.mutable_endpoint()->set_ip(address_);
        report.mutable_endpoint()->set_port(port_);
        report.set_publisher_id(random_u64());
        report.mutable_publisher_address()->set_ip(address_of(0x0a640001));
        report.mutable_publisher_address()->set_port(5000);
        ports_[report.stream_id()] = port_++;
        write(up);
    }
    v1::DataServerUp done;
    done.mutable_reports_done();
    write(done);
}

bool DataServerPeer::report() {
    v1::LoadReport& load = *load_.mutable_load();
    load.set_sequence(load.sequence() + 1);
    load.set_monotonic_ms(monotonic_ms());
    for (v1::StreamLoad& stream : *load.mutable_streams()) {
        stream.set_packets_in(stream.packets_in() + kPacketsAnInterval);
        stream.set_bytes_in(stream.packets_in() * kPayloadBytes);
        load.set_packets_in(load.packets_in() + kPacketsAnInterval);
    }
    if (write_now(load_)) {
        return true;
    }
    load.set_sequence(load.sequence() - 1);
    return false;
}

void DataServerPeer::on_message(const v1::DataServerDown& message) {
    if (!message.has_streams()) {
        return;
    }
    const v1::StreamSet& set = message.streams();
    v1::DataServerUp up;
    v1::Applied& applied = *up.mutable_applied();
    applied.set_epoch(set.epoch());
    applied.set_generation(set.generation());
    for (const v1::DesiredStream& desired : set.open()) {
        auto [port, is_new] = ports_.try_emplace(desired.stream_id(), port_);
        port_ += is_new ? 1 : 0;
        v1::OpenedStream& opened = *applied.add_opened();
        opened.set_stream_id(desired.stream_id());
        opened.mutable_endpoint()->set_ip(address_);
        opened.mutable_endpoint()->set_port(port->second);
    }
    write(up);
    is_attached_ = true;
}

PublisherPeer::PublisherPeer(Surroundings& surroundings, const std::string& stream) {
    v1::PublisherUp up;
    v1::PublisherHello& hello = *up.mutable_hello();
    hello.set_protocol(kProtocols.newest);
    hello.set_protocol_oldest(kProtocols.oldest);
    hello.set_publisher_id(random_u64());
    hello.set_stream(stream);
    hello.set_start(v1::START_POLICY_DEMAND);
    open(connect(surroundings), "/penstock.v1.Publishers/Session");
    write(up);
}

void PublisherPeer::beat() {
    v1::PublisherUp up;
    up.mutable_heartbeat();
    write(up);
}

void PublisherPeer::on_message(const v1::PublisherDown& message) {
    if (!message.has_desired()) {
        return;
    }
    is_directed_ = true;
    v1::PublisherUp up;
    up.mutable_report()->set_version(message.desired().version());
    up.mutable_report()->set_state(message.desired().state());
    write(up);
}

ConsumerPeer::ConsumerPeer(const std::shared_ptr<Connection>& connection,
                           const std::string& stream,
                           Answered answered)
    : answered_(std::move(answered)), asked_at_(monotonic_now()) {
    v1::ConsumerUp up;
    v1::ConsumerRequest& request = *up.mutable_request();
    request.set_protocol(kProtocols.newest);
    request.set_protocol_oldest(kProtocols.oldest);
    request.set_consumer_id(random_u64());
    request.set_stream(stream);
    request.set_wait_ms(kWaitMs);
    open(connection, "/penstock.v1.Consumers/Session");
    write(up);
}

void ConsumerPeer::renew() {
    asked_at_ = monotonic_now();
    v1::ConsumerUp up;
    up.mutable_renew()->set_version(version_);
    write(up);
}

void ConsumerPeer::beat() {
    v1::ConsumerUp up;
    up.mutable_heartbeat();
    write(up);
}

void ConsumerPeer::let_go(std::unique_ptr<ConsumerPeer> peer) {
    if (ConsumerPeer& leaving = *peer; !leaving.has_ended_) {
        leaving.self_ = std::move(peer);
        leaving.end();
    }
}

void ConsumerPeer::on_message(const v1::ConsumerDown& message) {
    if (message.has_heartbeat() || self_ != nullptr) {
        return;
    }
    const bool is_ready =
        message.has_assignment() && message.assignment().state() == v1::ASSIGNMENT_STATE_READY;
    version_ = is_ready ? message.assignment().version() : version_;
    answered_(*this, is_ready ? monotonic_now() - asked_at_ : std::chrono::nanoseconds(-1));
}

void ConsumerPeer::on_end() {
    if (self_ == nullptr) {
        version_ = 0;
        answered_(*this, std::chrono::nanoseconds(-1));
    }
    has_ended_ = true;
    self_.reset();  // if it was let go, this is deleted
}

}  // namespace penstock::bench
