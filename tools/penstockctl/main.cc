#include "base/net_address.h"
#include "base/options.h"
#include "base/tls_options.h"
#include "penstockctl/commands.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>

namespace {

using namespace penstock;

constexpr const char* kProgram = "penstockctl";

Result<void> check_presence(const std::string& presence, bool is_plaintext_allowed) {
    const std::size_t colon = presence.rfind(':');
    if (colon == std::string::npos || colon == 0 || colon + 1 == presence.size()) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("--presence '{}' is not HOST:PORT; write it like 127.0.0.1:7400",
                                 presence)};
    }
    const Result<Endpoint> numeric = parse_endpoint(presence);
    const bool is_loopback =
        numeric ? numeric->ip.is_loopback() : presence.substr(0, colon) == "localhost";
    if (!is_loopback && !is_plaintext_allowed) {
        return Error{
            ErrorCode::invalid_argument,
            fmt::format("--presence {} is not on loopback and the session is not "
                        "encrypted: add --tls-ca FILE, or --insecure if that network is trusted",
                        presence)};
    }
    return {};
}

int run(int argc, const char* const* argv) {
    ctl::Request request;
    bool insecure = false;
    Options options(kProgram, std::string("asks presence: ") + ctl::kUsage);
    options.texts("presence",
                  request.presence,
                  "HOST:PORT",
                  "where presence listens; several are asked in turn (127.0.0.1:7400 if none is "
                  "named)");
    add_caller_tls_options(options, request.tls);
    options.flag("insecure", insecure, "allow plaintext beyond loopback");
    options.flag("json,j", request.is_json, "one JSON document; of events, one object a line");
    options.flag(
        "follow", request.is_following, "of events: go on with new ones until interrupted");
    options.text("stream", request.stream, "NAME", "of events: those of one stream");
    options.duration("deadline",
                     request.deadline,
                     std::chrono::milliseconds(0),
                     std::chrono::hours(24),
                     "of a drain: streams that cannot be moved without a gap by then are moved "
                     "with one");
    options.rest("command", request.words, "what to ask");
    const auto outcome = options.parse(argc, argv);
    if (!outcome) {
        return fail(kProgram, outcome.error());
    }
    if (*outcome == Options::Outcome::exit) {
        return 0;
    }
    if (request.presence.empty()) {
        request.presence = {"127.0.0.1:7400"};
    }
    for (const std::string& presence : request.presence) {
        if (const auto checked = check_presence(presence, insecure || request.tls.any());
            !checked) {
            return fail(kProgram, checked.error());
        }
    }
    if (const auto done = ctl::run(request); !done) {
        return fail(kProgram, done.error());
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(argc, argv);
    } catch (const std::exception& error) {  // out of memory
        std::fprintf(stderr, "penstockctl: %s\n", error.what());
    } catch (...) {
        std::fprintf(stderr, "penstockctl: unknown exception\n");
    }
    return 1;
}
