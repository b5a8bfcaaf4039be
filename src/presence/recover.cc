#include "presence/recover.h"

#include "base/check.h"
#include "presence/duty.h"
#include "presence/open_stream.h"
#include "presence/sessions.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace penstock::presence {
namespace {

constexpr std::uint32_t kElectionRetryMs = 300;
constexpr std::uint64_t kEpochLeapMax = 1ULL << 32U;  // more than leaders or revisions can be

MonotonicTime recovery_end(const State& state) noexcept {
    return state.started_at + (state.awaited.empty() ? std::chrono::nanoseconds(kSettlePeriod)
                                                     : std::chrono::nanoseconds(kRecoveryMost));
}

/// What does not depend on who leads.
State emptied(State& state) {
    PENSTOCK_CHECK(state.sessions.empty());
    State fresh;
    fresh.settings = state.settings;
    fresh.random = std::move(state.random);
    fresh.events = std::move(state.events);
    fresh.stores = state.stores;
    return fresh;
}

}  // namespace

void lead(State& state, Durable facts, MonotonicTime now) {
    State fresh = emptied(state);
    fresh.started_at = now;
    fresh.awaited = facts.servers;
    fresh.knows_servers = !facts.servers.empty();
    fresh.former_presence = fresh.knows_servers;
    fresh.facts = facts;
    fresh.wanted = std::move(facts);
    state = std::move(fresh);
}

void follow(State& state, std::string leader) {
    State fresh = emptied(state);
    fresh.leads = false;
    fresh.leader = std::move(leader);
    state = std::move(fresh);
}

std::string not_leading_reason(const State& state) {
    return state.leader.empty()
               ? "this presence server does not lead, and knows of none that does"
               : fmt::format("this presence server does not lead, {} does", state.leader);
}

void turn_away(Turn& turn, SessionId session) {
    const State& state = turn.state;
    control::Reject reject;
    reject.retry_after_ms = kElectionRetryMs;
    reject.leader = state.leader;
    reject.reason = not_leading_reason(state);
    switch (turn.state.sessions.at(session).kind) {
        case SessionKind::data_server:
            turn.act(ToDataServer{session, std::move(reject)});
            break;
        case SessionKind::publisher:
            turn.act(ToPublisher{session, std::move(reject)});
            break;
        case SessionKind::consumer:
            turn.act(ToConsumer{session, std::move(reject)});
            break;
    }
    drop_session(turn, session);
}

void turn_all_away(Turn& turn) {
    turn_commands_away(turn);
    for (const SessionId session : turn.state.sessions.ids()) {
        turn_away(turn, session);
    }
}

void store_wanted(Turn& turn) {
    State& state = turn.state;
    if (!state.storing.has_value() && state.wanted != state.facts) {
        state.store_again_at = kNever;
        state.storing = state.wanted;
        turn.act(StoreFacts{++state.stores, state.wanted});
    }
}

void take_stored(Turn& turn, const FactsStored& event) {
    State& state = turn.state;
    if (!state.storing.has_value() || event.number != state.stores) {
        return;  // of a leadership that is over
    }
    const bool is_news = std::exchange(state.store_trouble, event.trouble) != event.trouble;
    if (event.trouble.empty()) {
        state.facts = *std::exchange(state.storing, std::nullopt);
        store_wanted(turn);
        take_duties_stored(turn);
        return;
    }
    // What was wanted is not, and is given up; whoever needs it will want it again. Only data
    // servers do not ask twice, and the next presence must know of all that have streams.
    state.storing.reset();
    auto servers = std::move(state.wanted.servers);
    state.wanted = state.facts;
    state.wanted.servers = std::move(servers);
    state.store_again_at = state.wanted == state.facts ? kNever : turn.now + kStoreRetry;
    if (is_news) {
        LoggedEvent failed;
        failed.kind = EventKind::store_failed;
        failed.detail = event.trouble;
        turn.log(std::move(failed));
    }
    refuse_duties(turn, event.trouble);
}

void store_again(Turn& turn) {
    if (turn.now >= turn.state.store_again_at) {
        store_wanted(turn);
    }
}

std::string epoch_objection(const State& state, std::uint64_t used) {
    if (used <= state.facts.epoch || used - state.facts.epoch <= kEpochLeapMax) {
        return "";
    }
    return fmt::format(
        "the epoch {} that it says it has obeyed is absurd, ours is {}: restart "
        "this data server, which forgets it then",
        used,
        state.facts.epoch);
}

void raise_epoch(Turn& turn, std::uint64_t used) {
    const std::uint64_t above = std::min(used + 1, control::kEpochMax);
    turn.state.wanted.epoch = std::max(turn.state.wanted.epoch, above);
    store_wanted(turn);
}

void welcome_back(Turn& turn, const std::string& server) {
    turn.state.awaited.erase(server);
    if (turn.state.wanted.servers.insert(server).second) {
        store_wanted(turn);
    }
}

void finish_recovery(Turn& turn) {
    State& state = turn.state;
    if (turn.now < recovery_due(state)) {
        return;
    }
    state.is_recovered = true;
    LoggedEvent recovered;
    recovered.kind = EventKind::recovered;
    recovered.detail = fmt::format("{} data servers did not come back", state.awaited.size());
    turn.log(std::move(recovered));
    for (const std::string& server : state.awaited) {
        state.wanted.servers.erase(server);
    }
    state.awaited.clear();
    store_wanted(turn);
    for (auto& [name, server] : state.servers) {
        send_set(turn, server);
    }
    std::vector<StreamId> streams;
    for (const auto& [id, stream] : state.streams) {
        streams.push_back(id);
    }
    std::ranges::sort(streams);
    for (const StreamId id : streams) {
        if (Stream* stream = find(state, id)) {
            advance(turn, *stream);
        }
    }
}

MonotonicTime recovery_due(const State& state) noexcept {
    return state.former_presence && !state.is_recovered ? recovery_end(state) : kNever;
}

bool is_settling(const State& state, MonotonicTime now) noexcept {
    return now < state.started_at + kSettlePeriod &&
           (state.servers.empty() || state.former_presence);
}

bool is_recovering(const State& state, MonotonicTime now) noexcept {
    return state.former_presence && !state.is_recovered && now < recovery_end(state);
}

MonotonicTime held_until(const State& state, const Stream& stream, MonotonicTime now) noexcept {
    if (stream.goes_on && is_recovering(state, now)) {
        return recovery_end(state);
    }
    const bool are_all_back = state.knows_servers && state.awaited.empty();
    return is_settling(state, now) && !are_all_back ? state.started_at + kSettlePeriod : now;
}

MonotonicTime not_before_recovery(const State& state,
                                  MonotonicTime due,
                                  MonotonicTime now) noexcept {
    const bool is_held = due != kNever && is_recovering(state, now);
    return is_held ? std::max(due, recovery_end(state)) : due;
}

}  // namespace penstock::presence
