#pragma once

#include "presence/turn.h"
#include "rpc/operator_messages.h"

#include <optional>
#include <string>

namespace penstock::presence {

/// What operators have asked of data servers: cordon, drain, and taking it back.

/// nullopt: it serves as usual.
[[nodiscard]] std::optional<Duty> duty_of(const State& state, const std::string& server);
/// Its present streams are to go, too.
[[nodiscard]] bool is_draining(const State& state, const std::string& server);
/// When a drain that a former presence began has to be over, which counts from our beginning to
/// lead; kNever: there is none.
[[nodiscard]] MonotonicTime drain_end(const State& state, const std::string& server);

/// An operator's command: answered at once if it cannot be followed or changes nothing, otherwise
/// when it is durable, which puts it in force.
void take_command(Turn& turn, const FromOperator& event);
/// Facts were made durable: the commands that are in them are in force.
void take_duties_stored(Turn& turn);
/// Facts could not be made durable: no command that waits is followed.
void refuse_duties(Turn& turn, const std::string& trouble);
/// Another presence server leads: whoever waits for an answer asks that one.
void turn_commands_away(Turn& turn);

/// Of a draining data server: moves a few more of its streams away. To be called again and again.
void go_on_draining(Turn& turn, DataServer& server);
/// Nothing of ours is on it: it may be stopped.
[[nodiscard]] bool is_empty(const DataServer& server) noexcept;

}  // namespace penstock::presence
