#pragma once

#include "presence.pb.h"

#include <string>

/// What a person is shown: aligned text, each line ended.
namespace penstock::ctl {

std::string table_of(const v1::ListServersReply& reply);
std::string table_of(const v1::ListStreamsReply& reply);
std::string table_of(const v1::ListConsumersReply& reply);
std::string page_of(const v1::ServerInfo& server);
std::string page_of(const v1::StreamInfo& stream);
/// The whole decision: who was looked at, what was known of each, and why it came out so.
std::string page_of(const v1::ExplainReply& explanation);
std::string page_of(const v1::RebalancePlan& plan);
std::string page_of(const v1::StatusReply& status);
/// One line; the time of day is local.
std::string line_of(const v1::Event& event);

}  // namespace penstock::ctl
