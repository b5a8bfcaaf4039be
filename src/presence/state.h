#pragma once

#include "base/clock.h"
#include "presence/durable.h"
#include "presence/events.h"
#include "presence/least_busy.h"
#include "presence/load_window.h"
#include "presence/part.h"
#include "presence/placement.h"
#include "presence/reserve.h"
#include "presence/session_table.h"
#include "presence/settings.h"
#include "presence/tables.h"
#include "presence/timers.h"
#include "rpc/messages.h"
#include "rpc/operator_messages.h"
#include "wire/ticket.h"

#include <penstock/ids.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace penstock::presence {

// What is not configurable, because peers rely on it or nobody has a reason to change it.
inline constexpr std::chrono::milliseconds kLoadInterval{100};
inline constexpr std::chrono::milliseconds kReportAgeMax{300};
inline constexpr std::chrono::seconds kDataServerSilence{1};
inline constexpr std::chrono::seconds kSteadyPeriod{2};      // of reports after a silence
inline constexpr std::chrono::seconds kReservationKept{10};  // for a load that is never reported
inline constexpr std::chrono::seconds kHelloDeadline{5};
inline constexpr std::chrono::seconds kHeartbeatInterval{1};
inline constexpr std::chrono::seconds kPeerSilence{3};
inline constexpr std::chrono::seconds kResendInterval{1};
inline constexpr std::chrono::seconds kSetPatience{3};       // a data server must acknowledge in
inline constexpr std::chrono::seconds kPublisherAbsence{3};  // then it is gone
inline constexpr std::chrono::seconds kStopPatience{3};  // then its stream is closed all the same
inline constexpr std::chrono::seconds kClaimPeriod{15};  // for adopted streams
inline constexpr std::chrono::seconds kRivalClaimPeriod{5};   // if another publisher asks
inline constexpr std::chrono::seconds kDisplacedPatience{3};  // then consumers are told to wait
inline constexpr std::chrono::seconds kSettlePeriod{3};       // after presence began to lead
inline constexpr std::chrono::seconds kRecoveryMost{15};      // for data servers to come back
inline constexpr std::chrono::seconds kStoreRetry{1};         // after a write that failed
inline constexpr std::chrono::seconds kMovePatience{5};       // for content at the new place
inline constexpr std::chrono::seconds kMovePause{10};         // before that place is tried again
inline constexpr std::chrono::seconds kLeavePatience{20};     // for consumers, with the old one
inline constexpr std::chrono::seconds kOverlap{3};            // of their flows at both, at most
inline constexpr std::size_t kMovesAtOnce = 32;               // away from one data server
inline constexpr std::chrono::seconds kStartPatience{5};      // least wait for a present publisher
inline constexpr std::chrono::seconds kTroubleRenewal{5};     // new ticket for one in trouble
inline constexpr std::chrono::seconds kGoneStreamKept{60};    // for `explain`
inline constexpr std::chrono::hours kWaitMax{24 * 365};       // of a consumer; longer is for ever
inline constexpr std::chrono::seconds kKeepalive{5};          // of consumers, on the data network
inline constexpr std::size_t kExplainedMax = 10'000;      // decisions kept with their candidates
inline constexpr std::size_t kRetriesAtOnce = 64;         // of unplaced streams, by a load report
inline constexpr std::size_t kSetBytesMax = 200U << 10U;  // leaves room in kMessageBytesMax
inline constexpr std::uint16_t kTicketKeyId = 1;
static_assert(kSetBytesMax < control::kMessageBytesMax);
static_assert(kLoadInterval < kReportAgeMax && kReportAgeMax < kDataServerSilence);

/// What a stream takes of its data server's limits.
struct Watchers {
    std::size_t consumers = 0;  // that want it, or are there
    std::uint64_t bits_per_second = 0;

    bool operator==(const Watchers&) const = default;
};

struct DataServer {
    std::string name;
    control::DataServerHello hello;
    SessionId session;  // none: away
    TicketKey ticket_key;
    TicketSealer sealer{ticket_key};
    // Its clock: what it said last, and when that came.
    std::uint64_t clock_ms = 0;
    MonotonicTime clock_at;
    std::optional<control::LoadReport> load;
    MonotonicTime load_at;
    std::deque<std::uint64_t> former_boots;  // of other processes that had its name
    std::deque<MonotonicTime> turns;         // when one of those was back, as far as it counts
    MonotonicTime quarantined_until;
    bool load_refused = false;                      // the newest report was no number 0..1
    std::vector<control::StreamLoad> stream_loads;  // the newest of each stream, by id
    std::vector<Part> ports;                        // as in the hello
    Part workers;
    std::optional<MonotonicTime> handed_out_at;
    bool is_recent_over = false;                // ended early: enough others were handed out since
    std::optional<MonotonicTime> recent_since;  // while it is in Placement::recent
    std::vector<Reservation> reservations;
    LoadWindow window;
    Measured measured;           // what it adds to Placement::measured
    std::optional<Rank> rank;    // its place among the eligible ones
    Deadline rank_change;        // Placement::changes_by_time
    std::set<StreamId> streams;  // those whose `server` it is
    std::set<StreamId> moving;   // those whose move goes there or comes from there
    std::size_t flows = 0;       // of `streams`
    Watchers watchers;           // of `streams` and `moving`
    bool was_silent = false;     // for too long, and has not been steady since
    std::optional<MonotonicTime> steady_since;
    MonotonicTime drain_end = kNever;  // then streams are moved without an overlap
    // What it had open when it attached; complete once reports_done.
    std::map<StreamId, control::StreamReport> reported;
    bool reports_done = false;
    // The set of streams it is to have open, what was sent of it, and what it acknowledged. One
    // set is in flight at a time, so that every change is made to an acknowledged generation.
    std::map<StreamId, control::DesiredStream> desired;
    std::size_t desired_bytes = 0;  // of a full set, at most
    // Not in `desired`: what it has open of no use to us, until a presence that has just started
    // knows enough to have it closed.
    std::map<StreamId, control::DesiredStream> spared;
    std::map<StreamId, control::DesiredStream> sent;
    std::set<StreamId> applied;
    std::set<StreamId> changed;     // where desired may differ from sent
    std::set<StreamId> unanswered;  // where sent may differ from applied
    std::uint64_t generation_sent = 0;
    std::uint64_t generation_applied = 0;
    bool in_flight = false;
    bool full_in_flight = false;
    bool others_kept = false;        // the set in flight closes nothing
    bool full_wanted = false;        // the next set is to be a full one
    MonotonicTime sent_at;           // the newest set
    MonotonicTime unanswered_since;  // while in flight
};

/// Where a stream stands on its way; what operators see is phase_of().
enum class StreamStep {
    idle,       // on no data server
    opening,    // a data server was chosen and has not acknowledged yet
    started,    // open there; the publisher is directed to it
    displaced,  // was started, its data server is lost, no other could be had yet
    stopping,   // STOP is sent and not acknowledged
    closing,    // to be closed at the data server
};

/// What consumers of a stream are told.
struct Outlook {
    control::AssignmentState state = control::AssignmentState::wait;
    std::string reason;
    std::string server;
    Endpoint endpoint;

    bool operator==(const Outlook&) const = default;
};

/// A stream on its way from one data server to another, without a gap: both have it open and the
/// publisher sends to both while consumers go over.
struct Move {
    enum class Step {
        opening,  // the new one opens it
        joining,  // the publisher is directed there, too
        leaving,  // consumers are told of the new one, which is the stream's own from here on
        ending,   // nobody is left at the old one: the publisher is told, then it is closed there
    };
    Step step = Step::opening;
    std::string server;                        // the other one: first the new, then the old
    Endpoint endpoint;                         // there
    MonotonicTime since;                       // of the step
    std::vector<control::ConsumerFlow> flows;  // at the old one, while leaving
    std::optional<MonotonicTime> over_since;   // all of those have one at the new one, too
};

struct Stream;

/// A consumer that asked for a stream, for as long as its session is open.
struct Consumer {
    SessionId session;
    PeerId id;
    Stream* stream = nullptr;  // whose `requests` this is in
    std::chrono::nanoseconds wait{0};
    MonotonicTime requested_at;
    MonotonicTime waiting_since;
    Outlook told;
    bool has_joined = false;    // a flow of it was reported: its leaving is told by the flow's
    std::uint64_t version = 0;  // of what it was told; 0: nothing yet
};

struct Stream {
    StreamId id;
    Deadline deadline;  // when its next step is due
    std::string name;

    // The publisher. With one but without its session: lost, and gone at claim_by.
    PeerId publisher;
    SessionId publisher_session;
    MonotonicTime claim_by = kNever;
    control::StartPolicy start = control::StartPolicy::publish;
    std::uint64_t max_bits_per_second = 0;
    std::chrono::nanoseconds close_after{0};
    bool start_requested = false;  // START is due without any consumer
    bool goes_on = false;          // its publisher transmits, as a former presence told it

    // The data server.
    StreamStep step = StreamStep::idle;
    std::string server;        // "" while idle or displaced
    DataServer* at = nullptr;  // it, in State::servers, which loses none that has streams
    Endpoint endpoint;         // known once opened; of the lost one while displaced
    std::string lost_server;
    std::map<std::string, std::string> refusals;  // data server → why, in this attempt
    MonotonicTime refusals_end = kNever;          // when those may be asked again
    std::optional<MonotonicTime> displaced_since;
    MonotonicTime believed_from;                     // when its peers complain of a port
    std::string trigger;                             // what the attempt answers
    std::optional<Move> move;                        // while started
    std::optional<MonotonicTime> handed_out_before;  // of its data server, before this attempt

    // Desired state of the publisher.
    control::DesiredState desired = control::DesiredState::unspecified;
    std::uint64_t version = 0;
    bool acknowledged = false;
    MonotonicTime desired_sent_at;
    MonotonicTime ticket_at;    // issue of the ticket of the START in force
    bool transmitting = false;  // the data server accepted the publisher
    std::string trouble;
    std::optional<MonotonicTime> unwatched_since;  // while started
    MonotonicTime stopping_since;                  // while stopping
    bool lingering_told = false;

    // Consumers.
    Outlook outlook;
    std::map<PeerId, Consumer> requests;              // of each consumer the newest
    std::vector<control::ConsumerFlow> flows;         // by consumer
    std::vector<control::ConsumerFlow> flows_before;  // while a report may be continued
    bool is_report_open = false;
    Endpoint publisher_address;
    Watchers watchers;

    Decision decision;
    std::optional<MonotonicTime> decided_at;
    std::string decided_for;
    std::uint64_t hand_outs = 0;
    std::optional<MonotonicTime> empty_since;  // neither publisher nor consumer
};

/// An operator's command that is answered when it is durable.
struct PendingCommand {
    std::uint64_t question = 0;
    control::ServerCommand command;
    std::uint64_t stored_by = 0;  // the StoreFacts it is in
};

/// Everything presence knows. Moved only by step(). A copy points into what it was copied from.
struct State {
    Settings settings;
    bool leads = true;                      // else every session is turned away
    std::string leader;                     // who does, if we do not; "": not known
    std::function<std::uint64_t()> random;  // never 0; seeded in tests
    MonotonicTime started_at;
    std::uint64_t version = 0;  // newest given to any publisher or consumer

    // What outlives us (recover.h): in force and durable; on its way to the store; to be.
    Durable facts;
    std::optional<Durable> storing;
    std::uint64_t stores = 0;  // how many StoreFacts there were
    Durable wanted;
    std::string store_trouble;              // of the newest write; "": none
    MonotonicTime store_again_at = kNever;  // what could not be written
    std::vector<PendingCommand> commands;   // in the order they came
    // Data servers of the former presence that have not reported yet.
    std::set<std::string, std::less<>> awaited;
    bool knows_servers = false;    // awaited named all there were, as far as we know
    bool former_presence = false;  // a data server obeys, or may obey, another epoch before ours
    bool is_recovered = false;

    SessionTable sessions;
    std::unordered_map<std::string, DataServer, NameHash, std::equal_to<>> servers;
    std::unordered_map<StreamId, Stream, IdHash> streams;
    std::size_t consumers = 0;  // in the requests of all streams
    Placement placement;
    std::set<StreamId> unplaced;  // want a data server, or wait until presence has settled
    StreamId retried_last;        // of those
    MonotonicTime rebalance_at;
    // Streams whose decision, made then, has its candidates; oldest first.
    std::deque<std::pair<StreamId, MonotonicTime>> explained;
    TimerQueue<SessionId> session_timers;  // of `sessions`
    TimerQueue<StreamId> stream_timers;    // of `streams`
    EventLog events;
};

/// "waiting", "starting", "transmitting", "lingering" or "gone".
[[nodiscard]] std::string_view phase_of(const Stream& stream) noexcept;

}  // namespace penstock::presence
