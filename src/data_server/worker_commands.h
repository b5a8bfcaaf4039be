#pragma once

#include "data_path/counters.h"
#include "data_path/mailbox.h"

#include <cstdint>
#include <deque>

namespace penstock {

/// Control's end of one worker's mailbox. Commands that do not fit wait here, in order.
/// Thread: control.
class WorkerCommands {
  public:
    /// Commands waiting from which on nothing new is begun. What ends something is always taken:
    /// there can be no more of that than there is to end.
    static constexpr std::size_t kWaitingMax = 65'536;

    WorkerCommands(Mailbox& mailbox, const WorkerCounters& counters)
        : mailbox_(mailbox), counters_(counters) {}

    /// Sends, now or as soon as there is room in the mailbox.
    /// Returns: the number of the command, counted from 1; see has_applied().
    std::uint64_t send(const WorkerCommand& command) {
        waiting_.push_back(command);
        pump();
        return ++sent_;
    }
    /// The number of the command sent next.
    [[nodiscard]] std::uint64_t next() const noexcept { return sent_ + 1; }
    [[nodiscard]] std::uint64_t applied() const noexcept {
        return counters_.applied_commands.acquire();
    }
    [[nodiscard]] bool has_applied(std::uint64_t number) const noexcept {
        return applied() >= number;
    }
    /// Whether something new may be begun.
    [[nodiscard]] bool has_room() const noexcept { return waiting_.size() < kWaitingMax; }
    /// Moves what waits into the mailbox. To be called often.
    void pump() {
        while (!waiting_.empty() && mailbox_.try_push(waiting_.front())) {
            waiting_.pop_front();
        }
    }

  private:
    Mailbox& mailbox_;
    const WorkerCounters& counters_;
    std::deque<WorkerCommand> waiting_;
    std::uint64_t sent_ = 0;
};

}  // namespace penstock
