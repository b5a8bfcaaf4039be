#include "base/net_address.h"
#include "client/presence_client.h"
#include "rpc/tls.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string_view>

namespace penstock {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPauseFirst{100};
constexpr milliseconds kPauseMost{2000};

struct HostAndPort {
    std::string_view host;  // without brackets; empty if the text is none of both
    std::string_view port;
};

HostAndPort split(std::string_view text) noexcept {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos || colon == 0) {
        return {};
    }
    std::string_view host = text.substr(0, colon);
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
        host = host.substr(1, host.size() - 2);
    } else if (host.find(':') != std::string_view::npos) {
        return {};  // an IPv6 address without brackets: where does it end?
    }
    return {host, text.substr(colon + 1)};
}

bool is_port(std::string_view text) noexcept {
    unsigned port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    return error == std::errc{} && end == text.data() + text.size() && port >= 1 && port <= 65535;
}

bool is_loopback(std::string_view host) {
    const Result<IpAddress> ip = parse_ip_address(host);
    return ip ? ip->is_loopback() : host == "localhost";
}

}  // namespace

Result<void> check_presence(const PresenceAddresses& presence) {
    if (presence.addresses.empty()) {
        return Error{ErrorCode::invalid_argument,
                     "no presence server is named; give --presence HOST:PORT"};
    }
    for (const std::string& address : presence.addresses) {
        const HostAndPort parts = split(address);
        if (parts.host.empty() || !is_port(parts.port)) {
            return Error{ErrorCode::invalid_argument,
                         fmt::format("presence address '{}' is not HOST:PORT; give one like "
                                     "127.0.0.1:7400",
                                     address)};
        }
        if (!presence.tls.any() && !presence.insecure && !is_loopback(parts.host)) {
            return Error{ErrorCode::invalid_argument,
                         fmt::format("presence {} is not on loopback and the connection is "
                                     "plaintext; give --tls-ca FILE, or --insecure to allow that",
                                     address)};
        }
    }
    return control::check_tls(presence.tls, false);
}

milliseconds reconnect_pause(unsigned attempt, std::uint64_t random) noexcept {
    const unsigned doublings = std::min(attempt > 0 ? attempt - 1 : 0, 10U);
    const milliseconds whole = std::min(kPauseFirst * (1U << doublings), kPauseMost);
    const auto half = static_cast<std::uint64_t>(whole.count() / 2);
    return milliseconds{whole.count() - static_cast<std::int64_t>(random % (half + 1))};
}

unsigned next_attempt(unsigned attempt, bool was_up, bool answered) noexcept {
    constexpr unsigned kAnsweredMost = 3;
    if (was_up) {
        return 1;
    }
    return answered ? std::min(attempt + 1, kAnsweredMost) : attempt + 1;
}

}  // namespace penstock
