#pragma once

#include "presence/turn.h"

#include <string>

namespace penstock::presence {

/// A stream goes from one data server to another without a gap. The new one opens it, the publisher
/// sends to both, consumers are told of the new one and leave the old when the new has them; then
/// the publisher, too, leaves the old one.

/// Begins, if the publisher transmits and another data server can take the stream. Returns: whether
/// it did.
bool begin_move(Turn& turn, Stream& stream);
/// Begins towards the data server that was chosen, which can take the stream, which may move.
void begin_move_to(Turn& turn, Stream& stream, Decision decision);
/// It is open, its publisher transmits, and no move of it is on.
[[nodiscard]] bool may_move(const Stream& stream) noexcept;
/// Takes the next step of the move as far as it goes now; nothing without one.
void advance_move(Turn& turn, Stream& stream);
/// When time alone makes a step due.
[[nodiscard]] MonotonicTime move_due(const Stream& stream) noexcept;
/// The publisher is to send to both.
[[nodiscard]] bool is_in_two_places(const Stream& stream) noexcept;

/// The new data server has opened it.
void take_move_opened(Turn& turn, Stream& stream, const Endpoint& endpoint);
/// What the other data server says of the stream.
void take_move_report(Turn& turn, Stream& stream, control::StreamReport report);

/// The stream stays where it is now, and is closed at the other one.
void cancel_move(Turn& turn, Stream& stream, const std::string& reason);
/// The other data server is lost, or refused.
void lose_other(Turn& turn, Stream& stream, const std::string& reason);
/// The stream's own data server is lost: it goes on at the other one, if the publisher's content
/// comes there. Returns: whether it does; if not, there is no move any more.
bool go_on_at_other(Turn& turn, Stream& stream);
/// The stream is stopped or closed: at both.
void close_move(Turn& turn, Stream& stream);

/// There is no time for moving: the stream is taken from its data server and assigned afresh, if
/// another one can take it. `trigger`: why, as `explain` says it.
void leave_at_once(Turn& turn, Stream& stream, const std::string& trigger);

}  // namespace penstock::presence
