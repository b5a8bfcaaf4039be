#pragma once

#include "wire/ticket.h"

#include <penstock/result.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>

namespace penstock::presence {

/// What an operator has asked of a data server, until it is taken back.
struct Duty {
    enum class Kind : std::uint8_t {
        cordoned,  // takes no new streams
        draining,  // gives its present ones away, too
    };
    Kind kind = Kind::cordoned;
    // Of a drain, from when it is in force or its leader begins to lead: the clocks of two presence
    // servers cannot be compared. Then streams are moved with a gap.
    std::chrono::milliseconds deadline{0};

    bool operator==(const Duty&) const = default;
};

/// The few facts that outlive a presence server; everything else data servers, publishers and
/// consumers tell again.
struct Durable {
    std::uint64_t epoch = 0;  // the highest any command of ours may have carried; 0: there was none
    TicketKey master_key;     // ticket keys of data servers are derived from it
    std::set<std::string, std::less<>> servers;       // data servers whose streams may be open
    std::map<std::string, Duty, std::less<>> duties;  // by data server; most have none

    bool operator==(const Durable&) const = default;
};

/// The same as names and values, as a store keeps them: "epoch", "master-key", "server/NAME",
/// "duty/NAME", and "checksum" over all others.
using Facts = std::map<std::string, std::string>;

[[nodiscard]] Facts to_facts(const Durable& durable);
/// Errors: invalid_argument: a fact is missing, unknown or no value of its kind, or the checksum is
/// of others; the message says which. Facts are never taken in part.
Result<Durable> from_facts(const Facts& facts);

/// Facts as one text, a line each, and back.
[[nodiscard]] std::string to_text(const Facts& facts);
Result<Facts> facts_of(const std::string& text);

/// The epoch of a new leader, who must keep it before he commands: above that of the one before,
/// and at least `floor`.
/// Errors: exhausted: there is none above.
Result<std::uint64_t> next_epoch(const Durable& durable, std::uint64_t floor);

}  // namespace penstock::presence
