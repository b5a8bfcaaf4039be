#pragma once

#include "rpc/messages.h"
#include "wire/ticket.h"

#include <cstdint>
#include <string>
#include <variant>

namespace penstock {

// What the control thread and presence say to each other: rpc/messages.h, and what the session
// adds.
using control::Applied;
using control::ConsumerFlow;
using control::DesiredStream;
using control::LoadReport;
using control::Measure;
using control::OpenedStream;
using control::QueueLoad;
using control::RefusedStream;
using control::ReportsDone;
using control::StreamLoad;
using control::StreamReport;
using control::StreamSet;

struct Welcome {
    std::string presence;  // the address that answered
    std::uint64_t epoch = 0;
    std::uint16_t ticket_key_id = 0;
    TicketKey ticket_key;
};

struct Detached {
    std::string reason;
};

/// Control thread → presence, in order. LoadReports go beside it: only the newest matters.
using UpMessage = std::variant<Applied, StreamReport, ReportsDone>;
/// Presence → control thread.
using DownMessage = std::variant<Welcome, StreamSet, Detached>;

}  // namespace penstock
