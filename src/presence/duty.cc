#include "presence/duty.h"

#include "presence/move_stream.h"
#include "presence/placement.h"
#include "presence/recover.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace penstock::presence {
namespace {

using control::CommandResult;

std::optional<Duty> duty_among(const Durable& facts, const std::string& server) {
    const auto found = facts.duties.find(server);
    return found == facts.duties.end() ? std::nullopt : std::optional<Duty>(found->second);
}

void set_duty(State& state, const std::string& server, const std::optional<Duty>& duty) {
    if (duty.has_value()) {
        state.wanted.duties.insert_or_assign(server, *duty);
    } else {
        state.wanted.duties.erase(server);
    }
}

std::optional<Duty> duty_in(const control::ServerCommand& command) {
    switch (command.duty) {
        case control::ServerDuty::none:
            return std::nullopt;
        case control::ServerDuty::cordoned:
            return Duty{};
        case control::ServerDuty::draining:
            return Duty{Duty::Kind::draining, command.deadline};
    }
    return std::nullopt;
}

bool is_drain(const std::optional<Duty>& duty) {
    return duty.has_value() && duty->kind == Duty::Kind::draining;
}

EventKind kind_of(const std::optional<Duty>& duty) {
    if (!duty.has_value()) {
        return EventKind::uncordoned;
    }
    return is_drain(duty) ? EventKind::draining : EventKind::cordoned;
}

/// Another data server can take streams now, and is to.
bool has_another(Turn& turn, const DataServer& server) {
    rank_due(turn.state, turn.now);
    return std::ranges::any_of(turn.state.placement.ranks, [&](const Rank& rank) {
        return rank.server != server.name && !duty_among(turn.state.wanted, rank.server);
    });
}

/// Moves towards it that have not come far end here.
void turn_back(Turn& turn, const DataServer& server) {
    const std::vector<StreamId> moving(server.moving.begin(), server.moving.end());
    for (const StreamId id : moving) {
        Stream& stream = *find(turn.state, id);
        if (stream.move->step == Move::Step::opening || stream.move->step == Move::Step::joining) {
            cancel_move(turn, stream, "its new data server is being drained");
            advance(turn, stream);
        }
    }
}

void answer(Turn& turn, std::uint64_t question, CommandResult result) {
    turn.act(ToOperator{question, std::move(result)});
}

/// Done, or why the command cannot be followed.
CommandResult judge(Turn& turn, const control::ServerCommand& command) {
    const DataServer* server = find_server(turn.state, command.server);
    const bool is_recorded = turn.state.wanted.servers.contains(command.server) ||
                             turn.state.wanted.duties.contains(command.server);
    if (server == nullptr && !is_recorded) {
        return {CommandResult::Kind::unknown_server,
                fmt::format("no data server is called {}; see `penstockctl server list`",
                            command.server),
                ""};
    }
    if (server != nullptr && is_drain(duty_in(command)) &&
        !is_drain(duty_among(turn.state.wanted, server->name)) && server->session &&
        !has_another(turn, *server)) {
        return {CommandResult::Kind::impossible,
                fmt::format("no data server but {} can take streams now: attach or uncordon "
                            "another one before it is drained",
                            server->name),
                ""};
    }
    return {};
}

/// Which StoreFacts has what is wanted of the data server.
std::uint64_t store_with(const State& state, const std::string& server) {
    const bool is_in = duty_among(*state.storing, server) == duty_among(state.wanted, server);
    return state.stores + (is_in ? 0 : 1);
}

/// The command is durable, or always was.
void put_in_force(Turn& turn, const control::ServerCommand& command) {
    DataServer* server = find_server(turn.state, command.server);
    const std::optional<Duty> duty = duty_in(command);
    if (server == nullptr || duty_of(turn.state, command.server) != duty) {
        return;  // it is forgotten, or another command came after this one
    }
    server->drain_end = is_drain(duty) ? later(turn.now, command.deadline) : kNever;
    rank(turn.state, *server, turn.now);
    go_on_draining(turn, *server);
}

void log_duty(Turn& turn, const control::ServerCommand& command) {
    const DataServer* server = find_server(turn.state, command.server);
    LoggedEvent event;
    event.kind = kind_of(duty_in(command));
    event.data_server = command.server;
    event.detail = fmt::format("it has {} streams", server == nullptr ? 0 : server->streams.size());
    turn.log(std::move(event));
}

}  // namespace

std::optional<Duty> duty_of(const State& state, const std::string& server) {
    return duty_among(state.facts, server);
}

bool is_draining(const State& state, const std::string& server) {
    return is_drain(duty_of(state, server));
}

MonotonicTime drain_end(const State& state, const std::string& server) {
    const std::optional<Duty> duty = duty_of(state, server);
    return is_drain(duty) ? later(state.started_at, duty->deadline) : kNever;
}

void take_command(Turn& turn, const FromOperator& event) {
    State& state = turn.state;
    if (!state.leads) {
        answer(turn,
               event.question,
               {CommandResult::Kind::not_leading, not_leading_reason(state), state.leader});
        return;
    }
    CommandResult verdict = judge(turn, event.command);
    if (verdict.kind != CommandResult::Kind::done) {
        answer(turn, event.question, std::move(verdict));
        return;
    }
    const std::string& server = event.command.server;
    const std::optional<Duty> duty = duty_in(event.command);
    const bool is_changing = std::ranges::any_of(
        state.commands, [&](const auto& pending) { return pending.command.server == server; });
    if (duty == duty_of(state, server) && !is_changing) {
        put_in_force(turn, event.command);
        answer(turn, event.question, {});
        return;
    }
    set_duty(state, server, duty);
    store_wanted(turn);
    state.commands.push_back({event.question, event.command, store_with(state, server)});
}

void take_duties_stored(Turn& turn) {
    State& state = turn.state;
    const std::uint64_t stored = state.stores - (state.storing.has_value() ? 1 : 0);
    std::vector<PendingCommand> waiting;
    for (PendingCommand& pending : std::exchange(state.commands, {})) {
        // Without anything left to be stored, later commands have taken back what is not in it.
        if (pending.stored_by > stored && state.storing.has_value()) {
            waiting.push_back(std::move(pending));
            continue;
        }
        if (duty_of(state, pending.command.server) == duty_in(pending.command)) {
            log_duty(turn, pending.command);
        }
        put_in_force(turn, pending.command);
        answer(turn, pending.question, {});
    }
    state.commands = std::move(waiting);
}

void refuse_duties(Turn& turn, const std::string& trouble) {
    for (const PendingCommand& pending : std::exchange(turn.state.commands, {})) {
        answer(
            turn,
            pending.question,
            {CommandResult::Kind::not_stored,
             fmt::format("{} stays as it was: {}; then ask again", pending.command.server, trouble),
             ""});
    }
}

void turn_commands_away(Turn& turn) {
    const State& state = turn.state;
    for (const PendingCommand& pending : std::exchange(turn.state.commands, {})) {
        answer(turn,
               pending.question,
               {CommandResult::Kind::not_leading, not_leading_reason(state), state.leader});
    }
}

void go_on_draining(Turn& turn, DataServer& server) {
    if (!is_draining(turn.state, server.name) || is_settling(turn.state, turn.now) ||
        is_recovering(turn.state, turn.now)) {
        return;
    }
    turn_back(turn, server);
    const bool is_over = turn.now >= server.drain_end;
    std::size_t moves = 0;
    const std::vector<StreamId> here(server.streams.begin(), server.streams.end());
    for (const StreamId id : here) {
        Stream& stream = *find(turn.state, id);
        if (is_over) {
            leave_at_once(turn, stream, "drain of data server " + server.name);
        } else if (stream.move.has_value() || begin_move(turn, stream)) {
            ++moves;
        }
        if (moves >= kMovesAtOnce) {
            return;
        }
    }
}

bool is_empty(const DataServer& server) noexcept {
    return server.reports_done && server.streams.empty() && server.moving.empty() &&
           server.desired.empty() && server.applied.empty() && !server.in_flight;
}

}  // namespace penstock::presence
