#pragma once

#include "presence/turn.h"

#include <string>

namespace penstock::presence {

/// Step 4: the data server is told which streams to have open and acknowledges; then the
/// publisher is directed to it.

/// Puts the stream into the data server's set (or changes it there) and sends the set.
void open_at(Turn& turn, DataServer& server, const Stream& stream);
/// Takes it out and sends the set.
void close_at(Turn& turn, DataServer& server, StreamId stream);
/// Sends what changed in the set since the last, unless one is in flight or nothing changed.
void send_set(Turn& turn, DataServer& server);
/// Keeps a stream open for now that is not to be at the data server.
void spare(DataServer& server, control::DesiredStream stream);
/// Once presence has settled: has the data server close what it was spared.
void close_spared(Turn& turn, DataServer& server);
/// While a set is unanswered: sends it again in full when due. Returns: false if the data server
/// has not answered for kSetPatience and must be taken for lost.
[[nodiscard]] bool resend_set(Turn& turn, DataServer& server);
/// What the data server has made of a set.
void take_applied(Turn& turn, DataServer& server, const control::Applied& applied);
/// The data server may still have the stream open.
[[nodiscard]] bool is_held(const DataServer& server, StreamId stream);

/// Gives the publisher a new desired state and sends it.
void direct_publisher(Turn& turn, Stream& stream, control::DesiredState state);
/// Sends the desired state in force, START with a fresh ticket; nothing without a session.
void send_desired(Turn& turn, Stream& stream);
/// The publisher's answer. One for another version or state than the one in force is ignored.
void take_publisher_report(Turn& turn, Stream& stream, const control::PublisherReport& report);
/// The stream is open at `endpoint` of its data server: from here on it is started.
void start_stream(Turn& turn, Stream& stream, const Endpoint& endpoint);

struct Permission {
    control::TicketBytes ticket;
    control::SessionKeyBytes session_key;
};
/// A ticket of settings.ticket_lifetime by the data server's clock.
[[nodiscard]] Permission issue_ticket(State& state,
                                      const DataServer& server,
                                      const Stream& stream,
                                      PeerId peer,
                                      TicketRole role,
                                      MonotonicTime now);

}  // namespace penstock::presence
