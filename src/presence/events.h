#pragma once

#include "base/clock.h"

#include <penstock/ids.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::presence {

/// What happens to servers and streams, as operators see it: name and meaning.
// clang-format off
#define PENSTOCK_EVENT_KINDS(X)                                                       \
    X(server_attached,    "a data server said hello and has reported its streams")    \
    X(server_gone,        "a data server's session broke off or fell silent")         \
    X(data_down,          "a data server cannot relay: a port or a worker fails")     \
    X(data_up,            "what kept a data server from relaying is over for a while") \
    X(quarantined,        "two processes take turns with a name: it gets no streams for a while") \
    X(load_refused,       "a data server reports a load that is no number 0..1")      \
    X(adopted,            "a data server had a stream open that presence did not know") \
    X(recovered,          "all of a former presence's data servers are back, or late")  \
    X(leadership_lost,    "another presence server leads from now on, or nobody does")  \
    X(store_failed,       "durable facts could not be written; they are as before")   \
    X(publish_requested,  "a publisher named its stream")                             \
    X(assigned,           "a data server was chosen; the detail says why")            \
    X(unassigned,         "no data server can take the stream now")                   \
    X(stream_opened,      "the data server has opened the stream")                    \
    X(stream_refused,     "the data server would not open the stream")                \
    X(start_sent,         "the publisher was directed to a data server")              \
    X(transmitting,       "the data server accepted the publisher")                   \
    X(consumer_requested, "a consumer asked for a stream")                            \
    X(consumer_ready,     "a consumer was told where to join")                        \
    X(consumer_joined,    "the data server sends copies to a consumer")               \
    X(consumer_left,      "a consumer's flow or its wish has ended")                  \
    X(consumer_timed_out, "the stream did not come in the time a consumer waits")     \
    X(lingering,          "nobody watches; close-after runs")                         \
    X(stop_sent,          "the publisher was told to cease")                          \
    X(stopped,            "the publisher has ceased")                                 \
    X(stream_closed,      "the data server has closed the stream")                    \
    X(waiting,            "the publisher was told to wait for the next consumer")     \
    X(publisher_gone,     "the publisher's session is lost and did not come back")    \
    X(cordoned,           "an operator wants no new streams at a data server")        \
    X(draining,           "an operator wants a data server emptied")                  \
    X(uncordoned,         "a data server takes new streams again")                    \
    X(moving,             "the stream is to go to another data server without a gap") \
    X(moved,              "content is there: consumers are told")                     \
    X(move_cancelled,     "the stream stays where it is")
// clang-format on

enum class EventKind : std::uint8_t {
#define PENSTOCK_EVENT_KIND_NAME(name, meaning) name,
    PENSTOCK_EVENT_KINDS(PENSTOCK_EVENT_KIND_NAME)
#undef PENSTOCK_EVENT_KIND_NAME
};

[[nodiscard]] std::string_view to_string(EventKind kind) noexcept;

struct LoggedEvent {
    std::uint64_t sequence = 0;  // from 1, without gaps
    MonotonicTime at;
    EventKind kind = EventKind::server_attached;
    std::string stream;
    std::string data_server;
    PeerId publisher;
    PeerId consumer;
    std::string detail;
};

/// The newest kEventsMax events.
class EventLog {
  public:
    /// Sets the event's sequence.
    void append(LoggedEvent event);
    /// A new event with its sequence and nothing else; its strings keep the memory of the oldest
    /// event, which it replaces. Valid until the next call.
    LoggedEvent& append();
    /// At most `most` events after `sequence` of one stream ("": of all), oldest first.
    [[nodiscard]] std::vector<LoggedEvent> after(std::uint64_t sequence,
                                                 std::string_view stream,
                                                 std::size_t most) const;
    /// Sequence of the newest; 0 if there was none.
    [[nodiscard]] std::uint64_t newest() const noexcept { return newest_; }

    static constexpr std::size_t kEventsMax = 10'000;

  private:
    std::vector<LoggedEvent> events_;  // a ring once it is full
    std::uint64_t newest_ = 0;
};

}  // namespace penstock::presence
