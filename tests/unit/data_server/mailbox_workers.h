#pragma once

#include "data_server/worker_commands.h"

#include <memory>
#include <vector>

namespace penstock {

/// Workers whose mailboxes the test empties itself, so that it decides when a command has been
/// applied.
class MailboxWorkers {
  protected:
    explicit MailboxWorkers(unsigned count = 2) {
        for (unsigned i = 0; i < count; ++i) {
            mailboxes.push_back(std::make_unique<Mailbox>(kMailboxCommands));
            counters.push_back(std::make_unique<WorkerCounters>());
            workers.emplace_back(*mailboxes[i], *counters[i]);
        }
    }

    /// What the worker finds in its mailbox; applied at once.
    std::vector<WorkerCommand> apply(std::size_t worker) {
        std::vector<WorkerCommand> commands;
        WorkerCommand command;
        while (mailboxes[worker]->try_pop(command)) {
            commands.push_back(command);
            counters[worker]->applied_commands.add(1);
        }
        return commands;
    }

    std::vector<std::unique_ptr<Mailbox>> mailboxes;
    std::vector<std::unique_ptr<WorkerCounters>> counters;
    std::vector<WorkerCommands> workers;
};

}  // namespace penstock
