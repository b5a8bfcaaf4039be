#pragma once

#include "presence/turn.h"

namespace penstock::presence {

/// Steps 2 and 3: a publisher names its stream, presence chooses its data server.

/// Hello: takes the publisher in, or rejects it because the stream has another that is alive.
/// One with the id of the stream's publisher continues its session.
void request_publish(Turn& turn, SessionId session, const control::PublisherHello& hello);

/// Chooses a data server and has it open the stream. Returns: whether one was found.
bool assign_publisher(Turn& turn, Stream& stream);
/// The data server was chosen for the stream: remembers why and has it open the stream.
void hand_out(Turn& turn, Stream& stream, DataServer& server, Decision decision);

}  // namespace penstock::presence
