#include "presence/config.h"

#include "base/options.h"
#include "rpc/messages.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <string_view>
#include <system_error>
#include <utility>

namespace penstock::presence {
namespace {

constexpr std::string_view kEtcd = "etcd://";
constexpr std::string_view kPrefixDefault = "/penstock";
constexpr std::size_t kMembersMax = 9;

Error invalid(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

/// What others are told to call: a host they can resolve and a port of it.
Result<void> check_advertised(const std::string& address) {
    const std::size_t colon = address.rfind(':');
    const std::string_view text = address;
    unsigned port = 0;
    bool is_good = colon != std::string::npos && colon > 0 &&
                   address.size() <= control::kNameBytesMax &&
                   std::ranges::all_of(text, [](char byte) { return byte > ' ' && byte <= '~'; });
    if (is_good) {
        const char* const end = address.data() + address.size();
        const auto [rest, error] = std::from_chars(address.data() + colon + 1, end, port);
        is_good = error == std::errc{} && rest == end && port >= 1 && port <= 65'535;
    }
    const Result<Endpoint> numeric = parse_endpoint(address);
    if (!is_good || (numeric && (numeric->ip.is_unspecified() || numeric->ip.is_multicast()))) {
        return invalid(
            fmt::format("--advertise '{}' is not HOST:PORT that others can call; write "
                        "10.0.0.1:7400 or presence1.example:7400",
                        address));
    }
    return {};
}

/// HOST:PORT of a member: plaintext only on loopback or if it is wanted.
Result<void> check_member(const std::string& member, bool is_plaintext_allowed) {
    const std::size_t colon = member.rfind(':');
    if (colon == std::string::npos || colon == 0 || colon + 1 == member.size()) {
        return invalid(
            fmt::format("--store: etcd member '{}' is not HOST:PORT; write etcd://10.0.0.1:2379,"
                        "10.0.0.2:2379,10.0.0.3:2379",
                        member));
    }
    const Result<Endpoint> numeric = parse_endpoint(member);
    const bool is_loopback =
        numeric ? numeric->ip.is_loopback() : member.substr(0, colon) == "localhost";
    if (!is_loopback && !is_plaintext_allowed) {
        return invalid(
            fmt::format("--store: etcd member {} is not on loopback and the session is not "
                        "encrypted: add --etcd-ca FILE, or --insecure if that network is trusted",
                        member));
    }
    return {};
}

/// Takes etcd://HOST:PORT,...[/PREFIX] apart; a path is left as it is.
Result<void> take_store(Config& config, bool insecure) {
    if (!config.store.starts_with(kEtcd)) {
        if (config.etcd_tls.any()) {
            return invalid("--etcd-ca, --etcd-cert and --etcd-key are for --store etcd://...");
        }
        return config.advertise.empty()
                   ? Result<void>()
                   : invalid("--advertise is for several presence servers: add --store etcd://...");
    }
    const std::string rest = config.store.substr(kEtcd.size());
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    const std::string prefix = rest.substr(slash);
    config.etcd_prefix = prefix.size() > 1 ? prefix : kPrefixDefault;
    for (std::size_t at = 0, end = 0; at <= slash; at = end + 1) {
        end = std::min(rest.find(',', at), slash);
        config.etcd.push_back(rest.substr(at, end - at));
        if (auto checked = check_member(config.etcd.back(), insecure || config.etcd_tls.any());
            !checked) {
            return checked;
        }
    }
    if (config.etcd.size() > kMembersMax) {
        return invalid(
            fmt::format("--store: {} etcd members; at most {}", config.etcd.size(), kMembersMax));
    }
    if (!config.advertise.empty()) {
        return check_advertised(config.advertise);
    }
    if (config.listen.ip.is_unspecified()) {
        return invalid(
            fmt::format("--listen {} does not say how others reach this presence server: add "
                        "--advertise HOST:PORT",
                        to_string(config.listen)));
    }
    return {};
}

/// What is judged before it is taken.
struct Raw {
    std::string listen = "127.0.0.1:7400";
    bool insecure = false;
};

void admission_options(Options& options, Settings& settings) {
    constexpr std::size_t kMost = 1'000'000;
    options.number("streams",
                   settings.streams_max,
                   1,
                   kMost,
                   "streams at once, of all data servers; a request for one more is refused");
    options.number(
        "consumers", settings.consumers_max, 1, kMost, "consumers at once, of all streams");
    options.number("server-streams",
                   settings.server_streams_max,
                   0,
                   kMost,
                   "streams a data server is given at most; 0: as many as it takes");
    options.number("server-consumers",
                   settings.server_consumers_max,
                   0,
                   kMost,
                   "consumers a data server is given at most; 0: as many as it takes");
    options.bit_rate("server-rate",
                     settings.server_bits_per_second_max,
                     "what the declared rates of a data server's streams may come to, each once "
                     "for every consumer; 0: no limit");
    options.number("stream-consumers",
                   settings.stream_consumers_max,
                   0,
                   kMost,
                   "consumers of one stream at most; 0: no limit");
}

void tls_options(Options& options, Config& config) {
    options.text(
        "tls-cert",
        config.tls.certificate,
        "FILE",
        "be called by TLS only, and show this certificate, which names --listen or --advertise");
    options.text("tls-key", config.tls.key, "FILE", "private key of --tls-cert");
    options.text("tls-ca",
                 config.tls.authority,
                 "FILE",
                 "demand of every caller a certificate of this authority");
    options.text("etcd-ca",
                 config.etcd_tls.authority,
                 "FILE",
                 "call etcd by TLS, and believe that it is etcd if this authority says so");
    options.text("etcd-cert",
                 config.etcd_tls.certificate,
                 "FILE",
                 "certificate that we show to etcd, if it demands one");
    options.text("etcd-key", config.etcd_tls.key, "FILE", "private key of --etcd-cert");
}

void declare(Options& options, Config& config, Raw& raw) {
    using std::chrono::hours;
    using std::chrono::milliseconds;
    using std::chrono::seconds;

    Settings& settings = config.settings;
    options.text("listen",
                 raw.listen,
                 "ADDRESS:PORT",
                 "where data servers, publishers, consumers and "
                 "operators call; port 0: any free one");
    tls_options(options, config);
    options.flag("insecure", raw.insecure, "allow plaintext beyond loopback");
    options.text("store",
                 config.store,
                 "PATH|etcd://HOST:PORT,...",
                 "where the facts are that outlive a presence server: a file (default: presence.db "
                 "in the state directory), or, for several presence servers, etcd");
    options.text("advertise",
                 config.advertise,
                 "HOST:PORT",
                 "how others reach this presence server while it leads; default: --listen");
    options.duration("recent-period",
                     settings.recent_period,
                     milliseconds(0),
                     hours(1),
                     "a data server handed out is not handed out again for so long while another "
                     "can take the stream; of more than four, at most half are kept back so");
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
                 "utilisation a new stream is thought to add, as long as few have been measured");
    options.flag("rebalance",
                 settings.rebalance,
                 "move streams from the busiest data server to the least busy: at most one a "
                 "minute, and only if it brings the two nearer by a quarter");
    admission_options(options, settings);
    options.duration("ticket-lifetime",
                     settings.ticket_lifetime,
                     seconds(1),
                     seconds(600),
                     "time in which a publisher or consumer must begin to join");
}

}  // namespace

Result<std::optional<Config>> parse_config(int argc, const char* const* argv) {
    Config config;
    Raw raw;
    Options options("penstock-presence", "knows who is alive and decides who goes where");
    declare(options, config, raw);
    const Result<Options::Outcome> outcome = options.parse(argc, argv);
    if (!outcome) {
        return outcome.error();
    }
    if (*outcome == Options::Outcome::exit) {
        return std::optional<Config>();
    }
    const Result<Endpoint> endpoint = parse_endpoint(raw.listen);
    if (!endpoint) {
        return Error{ErrorCode::invalid_argument, "--listen: " + endpoint.error().message};
    }
    if (!endpoint->ip.is_loopback() && !config.tls.any() && !raw.insecure) {
        return Error{
            ErrorCode::invalid_argument,
            fmt::format("--listen {} is not on loopback and sessions are not encrypted: add "
                        "--tls-cert and --tls-key, or --insecure if the network is trusted, or "
                        "listen on 127.0.0.1",
                        raw.listen)};
    }
    config.listen = *endpoint;
    if (auto taken = take_store(config, raw.insecure); !taken) {
        return std::move(taken).error();
    }
    config.effective = options.effective();
    return std::optional<Config>(std::move(config));
}

}  // namespace penstock::presence
