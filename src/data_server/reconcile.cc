#include "data_server/reconcile.h"

#include <algorithm>
#include <utility>

namespace penstock {

bool Reconcile::see_epoch(std::uint64_t epoch) {
    if (epoch < epoch_) {
        return false;
    }
    if (epoch > epoch_) {
        epoch_ = epoch;
        generation_ = 0;  // generations count within an epoch
    }
    return true;
}

bool Reconcile::is_current(const StreamSet& set) const noexcept {
    if (set.base_generation == 0) {
        return set.generation >= generation_;  // the same full set again does no harm
    }
    return set.base_generation == generation_ && set.generation > generation_;
}

Reconcile::Work Reconcile::take(const StreamSet& set) {
    Work work;
    Waiting waiting;
    if (!see_epoch(set.epoch) || !is_current(set)) {
        waiting.answer = {epoch_, generation_, {}, {}};
        waiting_.push_back(std::move(waiting));
        return work;
    }
    generation_ = set.generation;
    waiting.answer = {epoch_, generation_, {}, {}};
    for (const StreamId stream : set.close) {
        close(stream, work, waiting);
    }
    if (set.base_generation == 0 && !set.keep_others) {
        std::set<StreamId> wanted;
        for (const DesiredStream& desired : set.open) {
            wanted.insert(desired.stream);
        }
        std::vector<StreamId> unwanted;
        for (const auto& [stream, endpoint] : streams_) {
            if (!wanted.contains(stream)) {
                unwanted.push_back(stream);
            }
        }
        for (const StreamId stream : unwanted) {
            close(stream, work, waiting);
        }
    }
    for (const DesiredStream& desired : set.open) {
        const auto [present, added] = streams_.emplace(desired.stream, std::nullopt);
        if (present->second) {
            waiting.answer.opened.push_back({desired.stream, *present->second});
        } else {
            waiting.opening.insert(desired.stream);
        }
        work.open.push_back(desired);
    }
    waiting_.push_back(std::move(waiting));
    return work;
}

void Reconcile::close(StreamId stream, Work& work, Waiting& waiting) {
    const auto present = streams_.find(stream);
    if (present == streams_.end()) {
        return;
    }
    streams_.erase(present);
    work.close.push_back(stream);
    waiting.closing.insert(stream);
    // An earlier set that still waits for it to open need not: it never will have been.
    for (Waiting& earlier : waiting_) {
        if (earlier.opening.erase(stream) > 0) {
            earlier.answer.refused.push_back({stream, "closed by a later generation"});
        }
    }
}

void Reconcile::opened(StreamId stream, const Endpoint& endpoint) {
    const auto present = streams_.find(stream);
    if (present == streams_.end()) {
        return;
    }
    present->second = endpoint;
    for (Waiting& waiting : waiting_) {
        if (waiting.opening.erase(stream) > 0) {
            waiting.answer.opened.push_back({stream, endpoint});
        }
    }
}

void Reconcile::refused(StreamId stream, const std::string& reason) {
    streams_.erase(stream);
    for (Waiting& waiting : waiting_) {
        if (waiting.opening.erase(stream) > 0) {
            waiting.answer.refused.push_back({stream, reason});
        }
    }
}

void Reconcile::closed(StreamId stream) {
    for (Waiting& waiting : waiting_) {
        if (waiting.closing.erase(stream) > 0) {
            return;  // a later closing of a stream of the same name is another one's
        }
    }
}

std::vector<Applied> Reconcile::take_answers() {
    std::vector<Applied> answers;
    while (!waiting_.empty() && waiting_.front().opening.empty() &&
           waiting_.front().closing.empty()) {
        answers.push_back(std::move(waiting_.front().answer));
        waiting_.pop_front();
    }
    return answers;
}

}  // namespace penstock
