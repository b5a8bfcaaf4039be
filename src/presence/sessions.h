#pragma once

#include "presence/turn.h"

#include <chrono>
#include <cstdint>
#include <string>

namespace penstock::presence {

/// Sessions: who is connected, who still lives.

/// For a Reject whose cause may pass.
inline constexpr std::uint32_t kRetryAfterMs = 1000;

/// "" if we speak one of the versions that the peer speaks.
[[nodiscard]] std::string protocol_objection(std::uint32_t newest, std::uint32_t oldest);

void open_session(Turn& turn, SessionId id, SessionKind kind);
/// The call has ended by itself: what hung on it is lost.
void session_closed(Turn& turn, SessionId id);
/// Sends a Reject and ends the session.
void reject(Turn& turn, SessionId id, std::string reason, std::uint32_t retry_after_ms = 0);
/// Ends a session from our side; what hung on it is lost, as if it had closed.
void end_session(Turn& turn, SessionId id, const std::string& reason);
/// Ends a session from our side after what hung on it was given to another session.
void drop_session(Turn& turn, SessionId id);
/// We have not run for about `late` although something was due: what peers said meanwhile may still
/// wait to be read, so that nobody's silence counts for that time.
void excuse_silence(Turn& turn, std::chrono::nanoseconds late);
/// A timer of the session is due: hello deadline, heartbeat, silence, a set's or a wait's end.
void attend_session(Turn& turn, SessionId id);
/// Sets the session's timer to the earliest of those. What is heard of it only moves that later:
/// the timer finds out when it comes up.
void arm_session(Turn& turn, SessionId id);

}  // namespace penstock::presence
