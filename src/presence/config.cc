#include "presence/config.h"

#include "base/options.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

namespace penstock::presence {
Result<std::optional<Config>> parse_config(int argc, const char* const* argv) {
    using std::chrono::hours;
    using std::chrono::milliseconds;
    using std::chrono::seconds;

    Config config;
    Settings& settings = config.settings;
    std::string listen = "127.0.0.1:7400";
    bool insecure = false;
    Options options("penstock-presence", "knows who is alive and decides who goes where");
    options.text("listen",
                 listen,
                 "ADDRESS:PORT",
                 "where data servers, publishers, consumers and "
                 "operators call; port 0: any free one");
    options.flag("insecure", insecure, "allow plaintext beyond loopback");
    options.text("store",
                 config.store,
                 "PATH",
                 "file with the facts that outlive a presence server; default: presence.db in the "
                 "state directory");
    options.duration("recent-period",
                     settings.recent_period,
                     milliseconds(0),
                     hours(1),
                     "a data server handed out is not handed out again for so long");
    options.duration("close-after",
                     settings.close_after,
                     milliseconds(100),
                     hours(1),
                     "a stream nobody watches is stopped after so long, unless its publisher says");
    options.real("utilisation-limit",
                 settings.utilisation_limit,
                 0.01,
                 1.0,
                 "a data server takes new streams while its projected utilisation is lower");
    options.real("reserve",
                 settings.reserve,
                 0.0,
                 1.0,
                 "utilisation a new stream of undeclared rate is thought to add");
    options.duration("ticket-lifetime",
                     settings.ticket_lifetime,
                     seconds(1),
                     seconds(600),
                     "time in which a publisher or consumer must begin to join");
    const Result<Options::Outcome> outcome = options.parse(argc, argv);
    if (!outcome) {
        return outcome.error();
    }
    if (*outcome == Options::Outcome::exit) {
        return std::optional<Config>();
    }
    const Result<Endpoint> endpoint = parse_endpoint(listen);
    if (!endpoint) {
        return Error{ErrorCode::invalid_argument, "--listen: " + endpoint.error().message};
    }
    if (!endpoint->ip.is_loopback() && !insecure) {
        return Error{
            ErrorCode::invalid_argument,
            fmt::format("--listen {} is not on loopback and sessions are not encrypted: add "
                        "--insecure if the network is trusted, or listen on 127.0.0.1",
                        listen)};
    }
    config.listen = *endpoint;
    config.effective = options.effective();
    return std::optional<Config>(std::move(config));
}

}  // namespace penstock::presence
