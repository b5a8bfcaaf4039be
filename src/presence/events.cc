#include "presence/events.h"

#include <algorithm>
#include <utility>

namespace penstock::presence {
namespace {

constexpr std::array kEventKindNames{
#define PENSTOCK_EVENT_KIND_TEXT(name, meaning) std::string_view(#name),
    PENSTOCK_EVENT_KINDS(PENSTOCK_EVENT_KIND_TEXT)
#undef PENSTOCK_EVENT_KIND_TEXT
};

}  // namespace

std::string_view to_string(EventKind kind) noexcept {
    return kEventKindNames[static_cast<std::size_t>(kind)];
}

void EventLog::append(LoggedEvent event) {
    LoggedEvent& appended = append();
    event.sequence = appended.sequence;
    appended = std::move(event);
}

LoggedEvent& EventLog::append() {
    LoggedEvent event;
    if (events_.size() == kEventsMax) {
        event = std::move(events_.front());
        events_.pop_front();
        event.stream.clear();
        event.data_server.clear();
        event.detail.clear();
        event.publisher = event.consumer = PeerId{};
    }
    event.sequence = ++newest_;
    return events_.emplace_back(std::move(event));
}

std::vector<LoggedEvent> EventLog::after(std::uint64_t sequence,
                                         std::string_view stream,
                                         std::size_t most) const {
    std::vector<LoggedEvent> found;
    const auto first = std::ranges::upper_bound(events_, sequence, {}, &LoggedEvent::sequence);
    for (auto event = first; event != events_.end() && found.size() < most; ++event) {
        if (stream.empty() || event->stream == stream) {
            found.push_back(*event);
        }
    }
    return found;
}

}  // namespace penstock::presence
