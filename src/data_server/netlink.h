#pragma once

#include "base/net_address.h"

#include <penstock/result.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct nl_sock;

namespace penstock {

struct NetlinkSocketDeleter {
    void operator()(nl_sock* socket) const noexcept;
};
using NetlinkSocket = std::unique_ptr<nl_sock, NetlinkSocketDeleter>;

/// A socket that speaks of links, addresses and neighbours (NETLINK_ROUTE).
Result<NetlinkSocket> open_netlink();

/// Names an interface's trouble: `what: why`. `code`: negative, as libnl returns it.
Error netlink_error(std::string_view what, int code);

struct LinkSettings {
    MacAddress mac;  // all zero: the one it has
    std::uint16_t mtu;
    InterfaceAddress address;
};
/// Gives an interface its MAC address, MTU and IP address, and sets it up.
Result<void> configure_link(nl_sock& socket, unsigned if_index, const LinkSettings& settings);

/// The addresses Linux has on an interface, those of link scope left out.
Result<std::vector<InterfaceAddress>> addresses_of(nl_sock& socket, unsigned if_index);

}  // namespace penstock
