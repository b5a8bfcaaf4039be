#include "client/path_place.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <iterator>
#include <vector>

namespace penstock {
namespace {

constexpr std::size_t kRunSmooth = 4;
constexpr std::size_t kTail = 64;  // newest datagrams among which a good place is looked for

/// Ends the longest row known of its length.
struct RowEnd {
    std::size_t old_index = 0;
    std::size_t new_index = 0;
    std::size_t first = 0;  // of the row, in the list of those that came once
};

struct Once {
    std::size_t old_index = 0;
    std::size_t new_index = 0;
};

/// How often each hash came on each path. Open addressing in one piece of memory: a second of a
/// fast stream is counted while its next datagrams wait in the socket.
class HashCounts {
  public:
    struct Count {
        std::uint64_t hash = 0;
        std::uint32_t old_index = 0;  // of the newest
        std::uint32_t of_old = 0;     // 0: nothing is here
        std::uint32_t of_new = 0;
    };

    explicit HashCounts(const PathMarks& old_marks)
        : counts_(std::bit_ceil(2 * old_marks.size() + 1)) {
        std::uint32_t index = 0;
        for (const PathMark& mark : old_marks) {
            Count& count = at(mark.hash);
            count.hash = mark.hash;
            count.old_index = index++;
            ++count.of_old;
        }
    }
    /// Where the hash is, or has its place if it never came.
    Count& at(std::uint64_t hash) {
        std::size_t slot = hash & (counts_.size() - 1);
        while (counts_[slot].of_old > 0 && counts_[slot].hash != hash) {
            slot = (slot + 1) & (counts_.size() - 1);
        }
        return counts_[slot];
    }

  private:
    std::vector<Count> counts_;
};

/// Datagrams that came once on each path, in the order of the new one. Marks the new path's that
/// came on the old one as met.
std::vector<Once> came_once(const PathMarks& old_marks, PathMarks& new_marks) {
    HashCounts counts(old_marks);
    for (PathMark& mark : new_marks) {
        HashCounts::Count& count = counts.at(mark.hash);
        mark.is_met = count.of_old > 0;
        count.of_new += mark.is_met ? 1 : 0;
    }
    std::vector<Once> once;
    for (std::size_t j = 0; j < new_marks.size(); ++j) {
        const HashCounts::Count& count = counts.at(new_marks[j].hash);
        if (count.of_old == 1 && count.of_new == 1) {
            once.push_back({count.old_index, j});
        }
    }
    return once;
}

/// Equal datagrams, going back from both.
std::size_t run_at(const PathMarks& old_marks,
                   const PathMarks& new_marks,
                   std::size_t old_index,
                   std::size_t new_index) {
    const std::size_t most = std::min({old_index + 1, new_index + 1, kRunTold});
    std::size_t run = 0;
    while (run < most && old_marks[old_index - run].hash == new_marks[new_index - run].hash) {
        ++run;
    }
    return run;
}

/// The longest row of them that rises on both paths.
std::optional<PathPlace> place_of_row(const std::vector<Once>& once,
                                      const PathMarks& old_marks,
                                      const PathMarks& new_marks) {
    if (once.empty()) {
        return std::nullopt;
    }
    std::vector<RowEnd> ends;  // ends[n]: of the rows of n + 1 the one that ends earliest
    for (std::size_t at = 0; at < once.size(); ++at) {
        const auto end = std::ranges::lower_bound(ends, once[at].old_index, {}, &RowEnd::old_index);
        const std::size_t first = end == ends.begin() ? at : std::prev(end)->first;
        const RowEnd row{once[at].old_index, once[at].new_index, first};
        if (end == ends.end()) {
            ends.push_back(row);
        } else {
            *end = row;
        }
    }
    // Rather a little earlier than where datagrams were swapped.
    const auto most = static_cast<std::ptrdiff_t>(std::min(kTail, ends.size()));
    const auto is_smooth = [&](const RowEnd& end) {
        return run_at(old_marks, new_marks, end.old_index, end.new_index) >= kRunSmooth;
    };
    const auto smooth = std::find_if(ends.rbegin(), ends.rbegin() + most, is_smooth);
    const RowEnd& end = smooth == ends.rbegin() + most ? ends.back() : *smooth;
    const Once first = once[end.first];
    PathPlace place{end.old_index, end.new_index, 0};
    // What the new path brought before the oldest that is remembered is not known to be lost; two
    // more, for they may have been swapped.
    if (first.old_index < first.new_index + 2) {
        place.known_from = std::min(first.new_index, first.new_index + 2 - first.old_index);
    }
    return place;
}

/// The place closest in time, of those where the newest datagrams of one path are on the other.
std::optional<PathPlace> place_in_time(const PathMarks& old_marks, const PathMarks& new_marks) {
    std::optional<PathPlace> best;
    std::size_t best_run = 0;
    MonotonicTime::duration best_apart{0};
    const auto offer = [&](std::size_t old_index, std::size_t new_index) {
        if (old_marks[old_index].hash != new_marks[new_index].hash) {
            return;
        }
        const auto apart = std::chrono::abs(old_marks[old_index].at - new_marks[new_index].at);
        if (best_run == kRunTold && apart >= best_apart) {
            return;
        }
        const std::size_t run = run_at(old_marks, new_marks, old_index, new_index);
        if (run > best_run || (run == best_run && apart < best_apart)) {
            best = {old_index, new_index, new_index};
            best_run = run;
            best_apart = apart;
        }
    };
    const std::size_t old_count = old_marks.size();
    const std::size_t new_count = new_marks.size();
    // The new path is behind or level: its newest are somewhere in the old one; or it is ahead.
    for (std::size_t back = 1; back <= std::min(kTail, new_count); ++back) {
        for (std::size_t i = 0; i < old_count; ++i) {
            offer(i, new_count - back);
        }
    }
    for (std::size_t back = 1; back <= std::min(kTail, old_count); ++back) {
        for (std::size_t j = 0; j < new_count; ++j) {
            offer(old_count - back, j);
        }
    }
    return best;
}

}  // namespace

std::optional<PathPlace> find_place(const PathMarks& old_marks, PathMarks& new_marks) {
    const std::optional<PathPlace> place =
        place_of_row(came_once(old_marks, new_marks), old_marks, new_marks);
    return place ? place : place_in_time(old_marks, new_marks);
}

}  // namespace penstock
