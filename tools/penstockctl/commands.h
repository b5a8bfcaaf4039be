#pragma once

#include <penstock/result.h>
#include <penstock/tls.h>

#include <chrono>
#include <string>
#include <vector>

namespace penstock::ctl {

struct Request {
    std::vector<std::string> presence;  // HOST:PORT, asked in turn until one answers
    std::vector<std::string> words;     // what to do: "stream", "show", "news"
    TlsFiles tls;                       // {}: plaintext
    bool is_json = false;
    bool is_following = false;                                   // of events
    std::string stream;                                          // of events; "": all
    std::chrono::nanoseconds deadline{std::chrono::minutes(5)};  // of a drain
};

/// The commands, one a line, for --help and for errors.
extern const char* const kUsage;

/// Asks presence (if it is several servers, the one that leads) and prints the answer on standard
/// output. Every call has a deadline of 3 s, but following events ends only with the connection,
/// and a drain returns when the data server is empty, or some time after its deadline.
/// Errors: invalid_argument (no such command), unavailable, timed_out, not_found; one line each.
Result<void> run(const Request& request);

}  // namespace penstock::ctl
