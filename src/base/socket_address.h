#pragma once

#include "base/net_address.h"

#include <sys/socket.h>

namespace penstock {

/// An Endpoint in the form the socket API takes and gives.
struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t length = 0;

    [[nodiscard]] const sockaddr* get() const noexcept {
        return reinterpret_cast<const sockaddr*>(&storage);
    }
};

/// AF_INET for an IPv4 address, AF_INET6 for any other.
[[nodiscard]] int address_family(const IpAddress& ip) noexcept;
SocketAddress to_socket_address(const Endpoint& endpoint) noexcept;
/// 0.0.0.0:0 for a family that is neither IPv4 nor IPv6.
Endpoint to_endpoint(const sockaddr_storage& address) noexcept;

}  // namespace penstock
