#include "rpc/convert.h"

#include <algorithm>
#include <string>

namespace penstock::control {

v1::ServerInfo to_proto(const ServerInfo& info) {
    v1::ServerInfo message;
    message.set_name(info.name);
    message.set_boot_id(info.boot_id);
    message.set_state(std::string(info.state));
    message.set_report_age_ms(info.report_age_ms);
    if (info.load.has_value()) {
        *message.mutable_load() = to_proto(*info.load);
    }
    message.set_projected(info.projected);
    message.set_recent(info.recent);
    message.set_recent_left_ms(info.recent_left_ms);
    message.set_streams(info.streams);
    message.set_consumers(info.consumers);
    message.set_generation_sent(info.generation_sent);
    message.set_generation_applied(info.generation_applied);
    for (const Port& port : info.ports) {
        *message.add_ports() = to_proto(port);
    }
    message.set_trouble(info.trouble);
    return message;
}

v1::StreamInfo to_proto(const StreamInfo& info) {
    v1::StreamInfo message;
    message.set_name(info.name);
    message.set_stream_id(info.stream.value);
    message.set_state(std::string(info.state));
    message.set_data_server(info.data_server);
    if (info.endpoint.has_value()) {
        *message.mutable_endpoint() = to_proto(*info.endpoint);
    }
    message.set_publisher_id(info.publisher.value);
    if (info.publisher_address.has_value()) {
        *message.mutable_publisher_address() = to_proto(*info.publisher_address);
    }
    message.set_consumers(info.consumers);
    message.set_requests(info.requests);
    message.set_version(info.version);
    message.set_close_after_ms(info.close_after_ms);
    message.set_start(info.start == StartPolicy::demand ? v1::START_POLICY_DEMAND
                                                        : v1::START_POLICY_PUBLISH);
    message.set_max_bits_per_second(info.max_bits_per_second);
    if (info.load.has_value()) {
        *message.mutable_load() = to_proto(*info.load);
    }
    message.set_hand_outs(info.hand_outs);
    return message;
}

v1::ConsumerInfo to_proto(const ConsumerInfo& info) {
    v1::ConsumerInfo message;
    message.set_consumer_id(info.consumer.value);
    message.set_stream(info.stream);
    message.set_state(std::string(info.state));
    message.set_data_server(info.data_server);
    if (info.flow.has_value()) {
        *message.mutable_flow() = to_proto(*info.flow);
        *message.mutable_address() = message.flow().address();
    }
    message.set_requested_ms_ago(info.requested_ms_ago);
    return message;
}

v1::ExplainReply to_proto(const Explanation& explanation) {
    v1::ExplainReply message;
    message.set_stream(explanation.stream);
    message.set_state(std::string(explanation.state));
    message.set_decided(explanation.decided);
    message.set_decided_ms_ago(explanation.decided_ms_ago);
    message.set_trigger(explanation.trigger);
    message.set_chosen(explanation.chosen);
    message.set_reason(explanation.reason);
    message.set_recent_period_ms(explanation.recent_period_ms);
    for (const Candidate& candidate : explanation.candidates) {
        v1::Candidate& added = *message.add_candidates();
        added.set_server(candidate.server);
        added.set_utilisation(candidate.utilisation);
        added.set_bottleneck(candidate.bottleneck);
        added.set_report_age_ms(candidate.report_age_ms);
        added.set_reserved(candidate.reserved);
        added.set_projected(candidate.projected);
        added.set_eligible(candidate.eligible);
        added.set_ineligible_reason(candidate.ineligible_reason);
        added.set_recent(candidate.recent);
        added.set_handed_out_ms_ago(candidate.handed_out_ms_ago);
        added.set_chosen(candidate.chosen);
        added.set_recent_over(candidate.recent_over);
    }
    return message;
}

v1::RebalancePlan to_proto(const RebalancePlan& plan) {
    v1::RebalancePlan message;
    message.set_stream(plan.stream);
    message.set_from(plan.from);
    message.set_to(plan.to);
    message.set_share(plan.share);
    message.set_spread(plan.spread);
    message.set_spread_after(plan.spread_after);
    message.set_reason(plan.reason);
    message.set_is_on(plan.is_on);
    return message;
}

v1::Event to_proto(const EventRecord& record) {
    v1::Event message;
    message.set_sequence(record.sequence);
    message.set_unix_ms(record.unix_ms);
    message.set_kind(std::string(record.kind));
    message.set_stream(record.stream);
    message.set_data_server(record.data_server);
    message.set_publisher_id(record.publisher.value);
    message.set_consumer_id(record.consumer.value);
    message.set_detail(record.detail);
    return message;
}

v1::StatusReply to_proto(const Status& status) {
    v1::StatusReply message;
    message.set_epoch(status.epoch);
    message.set_uptime_ms(status.uptime_ms);
    message.set_bytes_received(status.bytes_received);
    message.set_bytes_sent(status.bytes_sent);
    message.set_servers(status.servers);
    message.set_publishers(status.publishers);
    message.set_consumers(status.consumers);
    message.set_version(status.version);
    return message;
}

Result<ServerCommand> from_proto(const v1::ServerDutyRequest& request) {
    if (!is_name(request.name())) {
        return Error{ErrorCode::invalid_argument,
                     "a data server's name has 1 to 255 bytes, all printable ASCII"};
    }
    ServerCommand command;
    command.server = request.name();
    switch (request.duty()) {
        case v1::SERVER_DUTY_NONE:
            command.duty = ServerDuty::none;
            break;
        case v1::SERVER_DUTY_CORDONED:
            command.duty = ServerDuty::cordoned;
            break;
        case v1::SERVER_DUTY_DRAINING:
            command.duty = ServerDuty::draining;
            break;
        default:
            return Error{ErrorCode::invalid_argument, "a duty not known here"};
    }
    constexpr std::uint64_t kMost = kDeadlineMax.count();
    command.deadline = std::chrono::milliseconds(std::min(request.deadline_ms(), kMost));
    return command;
}

}  // namespace penstock::control
