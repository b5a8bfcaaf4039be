#pragma once

#include "presence.pb.h"
#include "rpc/messages.h"
#include "rpc/operator_messages.h"

#include <penstock/result.h>

/// Protobuf stops here: presence.proto to and from plain structs. What comes from a peer is checked
/// against every limit of rpc/messages.h; what fails is an invalid_argument whose one line goes
/// back to the peer. All are pure. Thread: any.
namespace penstock::control {

Result<DataServerMessage> from_proto(const v1::DataServerUp& message);
Result<DataServerReply> from_proto(const v1::DataServerDown& message);
Result<PublisherMessage> from_proto(const v1::PublisherUp& message);
Result<ConsumerMessage> from_proto(const v1::ConsumerUp& message);

v1::DataServerUp to_proto(const DataServerMessage& message);
v1::DataServerDown to_proto(const DataServerReply& reply);
v1::PublisherDown to_proto(const PublisherReply& reply);
v1::ConsumerDown to_proto(const ConsumerReply& reply);

Result<ServerCommand> from_proto(const v1::ServerDutyRequest& request);

v1::ServerInfo to_proto(const ServerInfo& info);
v1::StreamInfo to_proto(const StreamInfo& info);
v1::ConsumerInfo to_proto(const ConsumerInfo& info);
v1::ExplainReply to_proto(const Explanation& explanation);
v1::RebalancePlan to_proto(const RebalancePlan& plan);
v1::Event to_proto(const EventRecord& record);
v1::StatusReply to_proto(const Status& status);

v1::Endpoint to_proto(const Endpoint& endpoint);
v1::Port to_proto(const Port& port);
v1::LoadReport to_proto(const LoadReport& load);
v1::StreamLoad to_proto(const StreamLoad& load);
v1::ConsumerFlow to_proto(const ConsumerFlow& flow);

/// Printable ASCII, 1..kNameBytesMax bytes: what a stream or a data server may be called.
[[nodiscard]] bool is_name(std::string_view text) noexcept;

}  // namespace penstock::control
