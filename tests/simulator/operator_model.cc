#include "simulator/operator_model.h"

#include "simulator/checker.h"
#include "simulator/presence_model.h"

#include <algorithm>

namespace penstock::simulator {
namespace {

constexpr milliseconds kAskAgain{500};

}  // namespace

void OperatorModel::want(const std::string& server,
                         control::ServerDuty duty,
                         milliseconds deadline) {
    wishes_[server] = {{server, duty, deadline}, 0, Standing::asked};
    ask(server, ++questions_);
}

void OperatorModel::want_all_back() {
    std::vector<std::string> servers;
    for (const auto& [server, wish] : wishes_) {
        servers.push_back(server);
    }
    for (const std::string& server : servers) {
        want(server, control::ServerDuty::none, {});
    }
}

void OperatorModel::ask(const std::string& server, std::uint64_t question) {
    Wish& wish = wishes_.at(server);
    if (wish.standing != Standing::asked || wish.question > question) {
        return;
    }
    wish.question = question;
    around_.trace.say(around_.now(),
                      "     an operator wants {} {}",
                      server,
                      wish.command.duty == control::ServerDuty::none       ? "in use"
                      : wish.command.duty == control::ServerDuty::cordoned ? "cordoned"
                                                                           : "drained");
    around_.timeline.at(around_.now() + kAskAgain,
                        [this, server, question] { ask(server, question); });
    const control::ServerCommand command = wish.command;
    const auto leader = std::ranges::find_if(
        presences_, [](const auto& one) { return one->is_running() && one->leads(); });
    if (leader != presences_.end()) {
        (*leader)->ask(question, command);
    }
}

void OperatorModel::on_answer(std::uint64_t question,
                              const control::CommandResult& result,
                              std::uint64_t epoch,
                              const presence::Durable& facts) {
    using Kind = control::CommandResult::Kind;
    const auto asked = std::ranges::find_if(
        wishes_, [question](const auto& entry) { return entry.second.question == question; });
    // Who goes on to lead beyond his lease knows no better.
    if (asked == wishes_.end() || asked->second.standing != Standing::asked ||
        epoch < facts.epoch) {
        return;
    }
    if (result.kind == Kind::impossible) {
        asked->second.standing = Standing::refused;
    } else if (result.kind == Kind::done) {
        asked->second.standing = Standing::done;
        watch(facts);
    }
}

bool OperatorModel::is_in(const presence::Durable& facts, const control::ServerCommand& command) {
    using control::ServerDuty;
    const auto duty = facts.duties.find(command.server);
    if (duty == facts.duties.end()) {
        return command.duty == ServerDuty::none;
    }
    if (duty->second.kind == presence::Duty::Kind::cordoned) {
        return command.duty == ServerDuty::cordoned;
    }
    return command.duty == ServerDuty::draining && command.deadline == duty->second.deadline;
}

void OperatorModel::watch(const presence::Durable& facts) const {
    for (const auto& [server, wish] : wishes_) {
        if (wish.standing == Standing::done && !is_in(facts, wish.command)) {
            around_.checker->fail("drain", "what was done about " + server + " is not durable");
        }
    }
}

}  // namespace penstock::simulator
