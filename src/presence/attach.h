#pragma once

#include "presence/turn.h"

#include <string_view>

namespace penstock::presence {

/// Step 1 of a stream's life: data servers come, say what they carry and how busy they are, and go.

/// Hello: attaches the data server and welcomes it, or rejects it. One with the name of another
/// that is alive is rejected; the same one (boot id) back on a new session replaces the old.
void attach(Turn& turn, SessionId session, const control::DataServerHello& hello);

/// A load report, its heartbeat. One whose utilisation is no number is refused (the one before it
/// ages); one above 1 counts as 1.
void take_load(Turn& turn, DataServer& server, control::LoadReport load);

/// A stream's publisher and consumers as the data server has them.
void take_stream_report(Turn& turn, DataServer& server, control::StreamReport report);

/// All streams were reported: adopts unknown ones, compares known ones, sends the full set.
void finish_reports(Turn& turn, DataServer& server);

/// The data server is lost: its streams are assigned afresh.
void detach(Turn& turn, DataServer& server, std::string_view reason);

/// The data server's own clock now, by its newest message.
[[nodiscard]] std::uint64_t clock_of(const DataServer& server, MonotonicTime now) noexcept;

}  // namespace penstock::presence
