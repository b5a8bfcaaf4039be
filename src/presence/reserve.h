#pragma once

#include "base/clock.h"
#include "presence/tables.h"

#include <penstock/ids.h>

#include <cstddef>
#include <cstdint>

/// What a data server that was handed out is thought to carry until its load reports show it.
namespace penstock::presence {

struct DataServer;
struct State;
struct Stream;

/// A hand-out that load reports do not show in full yet: the stream's content has to come first,
/// and then a whole interval of a report with it.
struct Reservation {
    StreamId stream;
    double share = 0;
    MonotonicTime made_at;
    bool is_shown = false;  // a report had content of the stream
};

/// What streams take of their data servers, as the newest load reports show it: the utilisations of
/// data servers with streams, and how many streams those are. In millionths, so that a sum of many
/// is exact however often one of them changes.
struct Measured {
    std::uint64_t millionths = 0;
    std::size_t streams = 0;
};

/// What the stream is thought to add to the data server's utilisation: as much as streams take on
/// average, but no less than its declared rate of the smallest link, once for each consumer.
/// Settings::reserve counts like eight measured streams, so that the first few decide little.
[[nodiscard]] double expected_share(const State& state,
                                    const DataServer& server,
                                    const Stream& stream);

/// All reservations of the data server together.
[[nodiscard]] double reserved_of(const DataServer& server);

/// The stream will not come there.
void drop_reservation(DataServer& server, StreamId stream);

/// The data server's newest load report was taken: what it shows is reserved no longer, and is
/// what streams are measured by.
void take_measured(State& state, DataServer& server, MonotonicTime now);

/// The data server is away: nothing of it counts.
void forget_measured(State& state, DataServer& server);

}  // namespace penstock::presence
