#pragma once

#include "data_server/control_messages.h"

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace penstock {

/// The streams presence wants open here, and how far that has come. Takes sets, says what is to be
/// opened and closed, and answers each set, in order, when all of it has been done. Pure.
class Reconcile {
  public:
    /// To be begun in this order; nothing for a set that is only answered.
    struct Work {
        std::vector<StreamId> close;
        std::vector<DesiredStream> open;  // also streams already open: their publisher may be new
    };

    /// A set of a lower epoch, one that is older than what holds, or a change to another generation
    /// than the present one is answered with what holds, and not applied.
    Work take(const StreamSet& set);

    // What became of the work.
    void opened(StreamId stream, const Endpoint& endpoint);
    void refused(StreamId stream, const std::string& reason);
    void closed(StreamId stream);

    /// Answers that can be sent now, oldest first.
    std::vector<Applied> take_answers();
    /// The session that asked is gone, and with it whoever waits for answers.
    void forget_answers() { waiting_.clear(); }
    /// A presence leader of this epoch was met. Returns: false if it is not the newest one.
    [[nodiscard]] bool see_epoch(std::uint64_t epoch);

    [[nodiscard]] std::uint64_t epoch() const noexcept { return epoch_; }
    [[nodiscard]] std::uint64_t generation() const noexcept { return generation_; }
    /// Sets that are not answered yet.
    [[nodiscard]] std::size_t waiting() const noexcept { return waiting_.size(); }
    [[nodiscard]] bool is_desired(StreamId stream) const { return streams_.contains(stream); }

  private:
    struct Waiting {
        Applied answer;
        std::set<StreamId> opening;
        std::set<StreamId> closing;
    };

    [[nodiscard]] bool is_current(const StreamSet& set) const noexcept;
    void close(StreamId stream, Work& work, Waiting& waiting);

    std::uint64_t epoch_ = 0;
    std::uint64_t generation_ = 0;
    std::map<StreamId, std::optional<Endpoint>> streams_;  // nullopt: being opened
    std::deque<Waiting> waiting_;
};

}  // namespace penstock
