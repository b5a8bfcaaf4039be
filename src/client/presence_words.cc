#include "client/presence_words.h"

#include "base/net_address.h"
#include "base/protocol.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <utility>

namespace penstock {
namespace {

using std::chrono::milliseconds;

/// Errors: invalid_argument for an address that is none.
Result<Endpoint> endpoint_of(const v1::Endpoint& message) {
    Endpoint endpoint;
    const std::string& ip = message.ip();
    if (ip.size() == 4) {
        std::uint32_t host = 0;
        for (const char byte : ip) {
            host = host << 8U | static_cast<std::uint8_t>(byte);
        }
        endpoint.ip = IpAddress::v4(host);
    } else if (ip.size() == 16) {
        std::memcpy(endpoint.ip.bytes.data(), ip.data(), ip.size());
    }
    endpoint.port = static_cast<std::uint16_t>(message.port());
    if (endpoint.ip.is_unspecified() || message.port() == 0 || message.port() > 65535) {
        return Error{ErrorCode::invalid_argument, "presence gave no usable data server address"};
    }
    return endpoint;
}

/// Fills the place and the permission of a desired state. False if they are not whole.
template <typename Message, typename Desired>
bool take_place(const Message& message, Desired& desired) {
    const Result<Endpoint> endpoint = endpoint_of(message.endpoint());
    if (!endpoint || message.ticket().size() != sizeof(Ticket) ||
        message.session_key().size() != sizeof(SessionKey)) {
        return false;
    }
    desired.data_server = message.data_server();
    desired.endpoint = endpoint.value();
    std::memcpy(&desired.ticket, message.ticket().data(), sizeof(Ticket));
    std::memcpy(desired.key.bytes.data(), message.session_key().data(), sizeof(SessionKey));
    return true;
}

v1::DesiredState to_proto(DesiredPublishing::State state) noexcept {
    switch (state) {
        case DesiredPublishing::State::wait:
            return v1::DESIRED_STATE_WAIT;
        case DesiredPublishing::State::start:
            return v1::DESIRED_STATE_START;
        case DesiredPublishing::State::stop:
            return v1::DESIRED_STATE_STOP;
    }
    return v1::DESIRED_STATE_UNSPECIFIED;
}

}  // namespace

PublisherWords::PublisherWords(PublishRequest request, PresenceEvents<DesiredPublishing>& events)
    : request_(std::move(request)), events_(events) {}

std::unique_ptr<PublisherWords::Call> PublisherWords::prepare(
    const std::shared_ptr<grpc::Channel>& channel,
    grpc::ClientContext& context,
    grpc::CompletionQueue& queue) {
    return v1::Publishers::NewStub(channel)->PrepareAsyncSession(&context, &queue);
}

void PublisherWords::set_report(const PublishingReport& report) {
    const std::lock_guard lock(mutex_);
    report_ = report;
    report_is_due_ = true;
}

PublisherWords::Up PublisherWords::hello() {
    Up up;
    v1::PublisherHello& hello = *up.mutable_hello();
    hello.set_protocol(kProtocols.newest);
    hello.set_protocol_oldest(kProtocols.oldest);
    hello.set_publisher_id(request_.publisher_id);
    hello.set_stream(request_.stream);
    hello.set_start(request_.start == StartPolicy::publish ? v1::START_POLICY_PUBLISH
                                                           : v1::START_POLICY_DEMAND);
    hello.set_max_bits_per_second(request_.max_bits_per_second);
    hello.set_close_after_ms(static_cast<std::uint32_t>(request_.close_after.count()));
    const std::lock_guard lock(mutex_);
    hello.set_transmitting(report_.state == DesiredPublishing::State::start);
    return up;
}

std::optional<PublisherWords::Up> PublisherWords::next() {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(report_is_due_, false)) {
        return std::nullopt;
    }
    Up up;
    v1::PublisherReport& report = *up.mutable_report();
    report.set_version(report_.version);
    report.set_state(to_proto(report_.state));
    report.set_transmitting(report_.transmitting);
    report.set_trouble(report_.trouble);
    return up;
}

void PublisherWords::on_desired(const Down& down) {
    if (!down.has_desired()) {
        return;
    }
    const v1::PublisherDesired& message = down.desired();
    DesiredPublishing desired;
    desired.epoch = message.epoch();
    desired.version = message.version();
    bool is_whole = true;
    switch (message.state()) {
        case v1::DESIRED_STATE_WAIT:
            desired.state = DesiredPublishing::State::wait;
            break;
        case v1::DESIRED_STATE_START:
            desired.state = DesiredPublishing::State::start;
            is_whole = take_place(message, desired) &&
                       (!message.has_also() || take_place(message.also(), desired.also.emplace()));
            break;
        case v1::DESIRED_STATE_STOP:
            desired.state = DesiredPublishing::State::stop;
            break;
        default:
            is_whole = false;
    }
    if (is_whole && gate_.admit(desired.epoch, desired.version)) {
        events_.on_desired(desired);
        return;
    }
    // Old or not understood: answered with what holds, not applied.
    const std::lock_guard lock(mutex_);
    report_is_due_ = true;
}

ConsumerWords::ConsumerWords(std::uint64_t consumer_id, std::string stream, ConsumerEvents& events)
    : consumer_id_(consumer_id), stream_(std::move(stream)), events_(events) {}

std::unique_ptr<ConsumerWords::Call> ConsumerWords::prepare(
    const std::shared_ptr<grpc::Channel>& channel,
    grpc::ClientContext& context,
    grpc::CompletionQueue& queue) {
    return v1::Consumers::NewStub(channel)->PrepareAsyncSession(&context, &queue);
}

void ConsumerWords::set_renew(std::uint64_t version) {
    const std::lock_guard lock(mutex_);
    renew_ = version;
}

ConsumerWords::Up ConsumerWords::hello() {
    {
        // A renewal asked for in an earlier session: the request that follows covers it.
        const std::lock_guard lock(mutex_);
        renew_.reset();
    }
    const milliseconds wait = events_.on_request();
    Up up;
    v1::ConsumerRequest& request = *up.mutable_request();
    request.set_protocol(kProtocols.newest);
    request.set_protocol_oldest(kProtocols.oldest);
    request.set_consumer_id(consumer_id_);
    request.set_stream(stream_);
    request.set_wait_ms(wait == milliseconds::max()
                            ? std::numeric_limits<std::uint64_t>::max()
                            : static_cast<std::uint64_t>(std::max(wait, milliseconds{0}).count()));
    return up;
}

std::optional<ConsumerWords::Up> ConsumerWords::next() {
    const std::lock_guard lock(mutex_);
    if (!renew_) {
        return std::nullopt;
    }
    Up up;
    up.mutable_renew()->set_version(*renew_);
    renew_.reset();
    return up;
}

void ConsumerWords::on_desired(const Down& down) {
    if (!down.has_assignment()) {
        return;
    }
    const v1::Assignment& message = down.assignment();
    DesiredConsuming desired;
    desired.epoch = message.epoch();
    desired.version = message.version();
    desired.reason = message.reason();
    desired.retry_after = milliseconds(message.retry_after_ms());
    bool is_whole = true;
    switch (message.state()) {
        case v1::ASSIGNMENT_STATE_WAIT:
            desired.state = DesiredConsuming::State::wait;
            break;
        case v1::ASSIGNMENT_STATE_READY:
            desired.state = DesiredConsuming::State::ready;
            is_whole = take_place(message, desired);
            break;
        case v1::ASSIGNMENT_STATE_GONE:
            desired.state = DesiredConsuming::State::gone;
            break;
        default:
            is_whole = false;
    }
    if (is_whole && gate_.admit(desired.epoch, desired.version)) {
        events_.on_desired(desired);
    }
}

}  // namespace penstock
