#pragma once

#include "presence/turn.h"

#include <cstdint>
#include <string>

namespace penstock::presence {

/// What outlives a presence server, and how the next one takes over from it. A presence that has
/// just begun to lead knows of no stream: it adopts what data servers report and only adds, until
/// all of them are back or kRecoveryMost has passed. Meanwhile no data server is told to close
/// anything, and no publisher to cease.

/// Begins to lead with these facts, which are durable, its epoch included. Nothing else of `state`
/// but settings and random source remains; no session may be open.
void lead(State& state, Durable facts, MonotonicTime now);

/// Forgets everything: another presence server leads ("": not known which). No session may be open.
void follow(State& state, std::string leader);
/// Of a presence server that does not lead, and who does.
[[nodiscard]] std::string not_leading_reason(const State& state);
/// Sends a session to whoever leads. Nothing that hung on it is touched: it is forgotten next.
void turn_away(Turn& turn, SessionId session);
/// Operators who wait for an answer, too.
void turn_all_away(Turn& turn);

/// Facts change in two steps: they are `wanted` at once and in force when they are durable, which
/// the edge tells. To be called after a change of turn.state.wanted.
void store_wanted(Turn& turn);
/// The edge has written the facts of the last StoreFacts, or could not.
void take_stored(Turn& turn, const FactsStored& event);
/// Has data servers that could not be put on record written again, when state.store_again_at has
/// come. To be called at the end of every step.
void store_again(Turn& turn);

/// "" or why this epoch, which a data server says it has obeyed, is taken for nonsense: it is
/// further above ours than any presence can have raised it.
[[nodiscard]] std::string epoch_objection(const State& state, std::uint64_t used);
/// Another presence has used this epoch, to which there is no objection: wants one above it.
void raise_epoch(Turn& turn, std::uint64_t used);

/// The data server has reported its streams: it need not be waited for any longer.
void welcome_back(Turn& turn, const std::string& server);

/// The former presence's data servers are back, or were waited for long enough: what nobody claims
/// is removed, once. To be called at the end of every step.
void finish_recovery(Turn& turn);
/// When that is due if nothing happens before; kNever: never.
[[nodiscard]] MonotonicTime recovery_due(const State& state) noexcept;

}  // namespace penstock::presence
