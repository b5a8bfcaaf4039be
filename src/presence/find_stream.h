#pragma once

#include "presence/turn.h"

#include <vector>

namespace penstock::presence {

/// Steps 5 and 6: a consumer asks for a stream and is told where to join, to wait, or that it is
/// gone.

void request_stream(Turn& turn, SessionId session, const control::ConsumerRequest& request);
/// A fresh ticket. A renewal of an older assignment than the newest is ignored: that one is on its
/// way.
void renew_ticket(Turn& turn, Consumer& consumer, const control::ConsumerRenew& renew);
/// Tells the consumers of a stream what changed for them since they were told last.
void tell_consumers(Turn& turn, Stream& stream);
/// The consumer's time to wait is over: removes it.
void end_wait(Turn& turn, Consumer& consumer);
/// The consumer's session is over.
void leave(Turn& turn, Consumer& consumer);
/// In the order of the consumers, each once.
void put_in_order(std::vector<control::ConsumerFlow>& flows);
/// Replaces the flows of a stream by what its data server reports; says who joined and who left.
void take_flows(Turn& turn, Stream& stream, control::StreamReport report);

}  // namespace penstock::presence
