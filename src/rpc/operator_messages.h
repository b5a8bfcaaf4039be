#pragma once

#include "rpc/messages.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// What operators are shown, as plain structs: the lower part of presence.proto.
namespace penstock::control {

struct ServerInfo {
    std::string name;
    std::uint64_t boot_id = 0;
    // attached, stale, quarantined, degraded, cordoned, draining, drained, gone
    std::string_view state;
    std::uint64_t report_age_ms = 0;
    std::optional<LoadReport> load;
    double projected = 0;
    bool recent = false;
    std::uint64_t recent_left_ms = 0;
    std::uint32_t streams = 0;
    std::uint32_t consumers = 0;
    std::uint64_t generation_sent = 0;
    std::uint64_t generation_applied = 0;
    std::vector<Port> ports;
    std::string trouble;
};

enum class ServerDuty : std::uint8_t { none, cordoned, draining };

inline constexpr std::chrono::milliseconds kDeadlineMax = std::chrono::hours(24);

/// What an operator wants of a data server from now on.
struct ServerCommand {
    std::string server;
    ServerDuty duty = ServerDuty::none;
    std::chrono::milliseconds deadline{0};  // of a drain: then streams are moved with a gap
};

struct CommandResult {
    enum class Kind : std::uint8_t { done, unknown_server, impossible, not_stored, not_leading };
    Kind kind = Kind::done;
    std::string reason;  // unless done; then nothing has changed
    std::string leader;  // if not_leading; "": not known
};

struct StreamInfo {
    std::string name;
    StreamId stream;
    std::string_view state;  // waiting, starting, transmitting, lingering, gone
    std::string data_server;
    std::optional<Endpoint> endpoint;
    PeerId publisher;
    std::optional<Endpoint> publisher_address;
    std::uint32_t consumers = 0;
    std::uint32_t requests = 0;
    std::uint64_t version = 0;
    std::uint64_t close_after_ms = 0;
    StartPolicy start = StartPolicy::publish;
    std::uint64_t max_bits_per_second = 0;
    std::optional<StreamLoad> load;
    std::uint64_t hand_outs = 0;
};

struct ConsumerInfo {
    PeerId consumer;
    std::string stream;
    std::string_view state;  // waiting, joining, receiving
    std::string data_server;
    std::optional<ConsumerFlow> flow;
    std::uint64_t requested_ms_ago = 0;
};

/// One data server as the choice saw it.
struct Candidate {
    std::string server;
    double utilisation = 0;
    std::string bottleneck;
    std::uint64_t report_age_ms = 0;
    double reserved = 0;
    double projected = 0;
    bool eligible = false;
    std::string ineligible_reason;
    bool recent = false;
    std::uint64_t handed_out_ms_ago = 0;
    bool chosen = false;
    bool recent_over = false;
};

/// The whole decision behind the last hand-out of a stream.
struct Explanation {
    std::string stream;
    std::string_view state;
    bool decided = false;
    std::uint64_t decided_ms_ago = 0;
    std::string trigger;
    std::string chosen;
    std::string reason;
    std::uint64_t recent_period_ms = 0;
    std::vector<Candidate> candidates;
};

struct EventRecord {
    std::uint64_t sequence = 0;
    std::uint64_t unix_ms = 0;
    std::string_view kind;
    std::string stream;
    std::string data_server;
    PeerId publisher;
    PeerId consumer;
    std::string detail;
};

/// What moving a stream would do for the spread between two data servers.
struct RebalancePlan {
    std::string stream;  // "": nothing is to be moved
    std::string from;    // the busiest; "": not known
    std::string to;      // the least busy that could be given a stream
    double share = 0;    // of the data server, that the stream takes
    double spread = 0;   // between the two, in utilisation
    double spread_after = 0;
    std::string reason;  // one sentence
    bool is_on = false;  // else it is never done
};

struct Status {
    std::uint64_t epoch = 0;
    std::uint64_t uptime_ms = 0;
    std::uint64_t bytes_received = 0;
    std::uint64_t bytes_sent = 0;
    std::uint32_t servers = 0;
    std::uint32_t publishers = 0;
    std::uint32_t consumers = 0;
    std::string version;
};

}  // namespace penstock::control
