#pragma once

#include "presence/turn.h"

namespace penstock::presence {

/// Step 7: nobody watches, close-after runs, STOP, the stream is closed at the data server, WAIT.

/// While the stream is started: runs close-after when nobody watches, and STOP at its end.
void linger(Turn& turn, Stream& stream);
/// When close-after ends; kNever if somebody watches.
[[nodiscard]] MonotonicTime linger_end(const Stream& stream) noexcept;
void stop_stream(Turn& turn, Stream& stream);
/// The publisher has ceased, or is gone: has the data server close the stream.
void close_stream(Turn& turn, Stream& stream);
/// The data server has closed it (or is away, which is as good): WAIT.
void finish_close(Turn& turn, Stream& stream);
/// The publisher's session is over; it has kPublisherAbsence to come back.
void lose_publisher(Turn& turn, Stream& stream);
/// It did not.
void forget_publisher(Turn& turn, Stream& stream);

}  // namespace penstock::presence
