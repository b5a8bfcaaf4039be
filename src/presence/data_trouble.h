#pragma once

#include "presence/turn.h"

#include <string>

namespace penstock::presence {

/// Data servers that are attached and cannot relay: a port has no link, a port is deaf, a worker
/// hangs. Their streams go to another one that can take them; without one they stay, and go on if
/// the trouble ends before.
///
/// A port is deaf if it has received nothing at all for kPortSilence and at least two peers of its
/// streams have complained in that time of getting no answer there. One alone may be cut off
/// itself, and so may all peers of a stream that complained of another port just before: those are
/// not believed for kDisbelief. A publisher that pauses is no trouble: it is answered.

/// What a load report says of the data server's parts. Its rank may change thereby.
void watch_parts(Turn& turn, DataServer& server);
/// Has streams leave what is in trouble, if they can. To be called with every load report.
void leave_trouble(Turn& turn, DataServer& server);

/// A publisher or consumer of the stream says that its data server does not answer.
void take_complaint(Turn& turn, Stream& stream, PeerId peer);

/// "" or why the data server is given no streams although it is attached.
[[nodiscard]] std::string why_unusable(const DataServer& server);

/// "" or all that is wrong with it.
[[nodiscard]] std::string troubles_of(const DataServer& server);

}  // namespace penstock::presence
