#include "presence/events.h"

#include "base/prefetch.h"

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
    const std::size_t place = newest_ % kEventsMax;
    if (place == events_.size()) {
        events_.emplace_back();
    }
    // The oldest have left the caches long ago: what is replaced soon is fetched meanwhile.
    constexpr std::size_t kAhead = 4;
    if (place + 2 * kAhead < events_.size()) {
        prefetch_for_write(events_[place + 2 * kAhead]);
        __builtin_prefetch(events_[place + kAhead].stream.data(), 1);
    }
    LoggedEvent& event = events_[place];
    event.sequence = ++newest_;
    event.stream.clear();
    event.data_server.clear();
    event.detail.clear();
    event.publisher = event.consumer = PeerId{};
    return event;
}

std::vector<LoggedEvent> EventLog::after(std::uint64_t sequence,
                                         std::string_view stream,
                                         std::size_t most) const {
    std::vector<LoggedEvent> found;
    const std::uint64_t oldest = newest_ - events_.size();  // the one before it
    for (std::uint64_t at = std::max(sequence, oldest); at < newest_ && found.size() < most; ++at) {
        const LoggedEvent& event = events_[at % kEventsMax];
        if (stream.empty() || event.stream == stream) {
            found.push_back(event);
        }
    }
    return found;
}

}  // namespace penstock::presence
