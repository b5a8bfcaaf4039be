#include "base/socket_address.h"

#include <arpa/inet.h>
#include <cstring>
#include <netinet/in.h>

namespace penstock {

int address_family(const IpAddress& ip) noexcept { return ip.is_v4() ? AF_INET : AF_INET6; }

SocketAddress to_socket_address(const Endpoint& endpoint) noexcept {
    SocketAddress address;
    if (endpoint.ip.is_v4()) {
        sockaddr_in v4{};
        v4.sin_family = AF_INET;
        v4.sin_port = htons(endpoint.port);
        v4.sin_addr.s_addr = htonl(endpoint.ip.v4());
        address.length = sizeof(v4);
        std::memcpy(&address.storage, &v4, sizeof(v4));
    } else {
        sockaddr_in6 v6{};
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(endpoint.port);
        std::memcpy(&v6.sin6_addr, endpoint.ip.bytes.data(), endpoint.ip.bytes.size());
        address.length = sizeof(v6);
        std::memcpy(&address.storage, &v6, sizeof(v6));
    }
    return address;
}

Endpoint to_endpoint(const sockaddr_storage& address) noexcept {
    Endpoint endpoint{IpAddress::v4(0), 0};
    if (address.ss_family == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, &address, sizeof(v4));
        endpoint.ip = IpAddress::v4(ntohl(v4.sin_addr.s_addr));
        endpoint.port = ntohs(v4.sin_port);
    } else if (address.ss_family == AF_INET6) {
        sockaddr_in6 v6{};
        std::memcpy(&v6, &address, sizeof(v6));
        std::memcpy(endpoint.ip.bytes.data(), &v6.sin6_addr, endpoint.ip.bytes.size());
        endpoint.port = ntohs(v6.sin6_port);
    }
    return endpoint;
}

}  // namespace penstock
