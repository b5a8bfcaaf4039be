#pragma once

#include <penstock/ids.h>

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

namespace penstock {

/// When which stream is to be reported to presence: soon after a change, changes that come together
/// in one report, and at times without a change, for the counters. A report carries the whole
/// stream, so one with many consumers goes out less often. Pure.
class StreamReports {
  public:
    void changed(StreamId stream, std::uint64_t now_ms);
    void forget(StreamId stream) { due_.erase(stream); }

    /// Streams to be reported now; each has the next turn after its own pause. `consumers`: how
    /// many a stream has.
    std::vector<StreamId> take_due(std::uint64_t now_ms,
                                   const std::function<std::size_t(StreamId)>& consumers);

  private:
    struct Due {
        std::uint64_t report_at_ms;
        std::uint64_t not_before_ms;  // for the sake of the one before
    };
    std::map<StreamId, Due> due_;
};

}  // namespace penstock
