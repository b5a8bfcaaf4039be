#include "data_server/stream_reports.h"

#include <algorithm>

namespace penstock {
namespace {

constexpr std::uint64_t kGatherMs = 10;  // changes that come within this share a report
constexpr std::uint64_t kConsumersPerPauseMs = 100;
constexpr std::uint64_t kRefreshMs = 1'000;

}  // namespace

void StreamReports::changed(StreamId stream, std::uint64_t now_ms) {
    const auto [due, added] = due_.try_emplace(stream, Due{now_ms + kGatherMs, 0});
    if (!added) {
        const std::uint64_t soon = std::max(now_ms + kGatherMs, due->second.not_before_ms);
        due->second.report_at_ms = std::min(due->second.report_at_ms, soon);
    }
}

std::vector<StreamId> StreamReports::take_due(
    std::uint64_t now_ms, const std::function<std::size_t(StreamId)>& consumers) {
    std::vector<StreamId> streams;
    for (auto& [stream, due] : due_) {
        if (due.report_at_ms > now_ms) {
            continue;
        }
        streams.push_back(stream);
        const std::uint64_t pause_ms = consumers(stream) / kConsumersPerPauseMs;
        due.not_before_ms = now_ms + pause_ms;
        due.report_at_ms = now_ms + std::max(kRefreshMs, 100 * pause_ms);
    }
    return streams;
}

}  // namespace penstock
