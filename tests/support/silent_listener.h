#pragma once

#include "base/socket_address.h"
#include "base/unique_fd.h"

#include <cstdint>
#include <string>
#include <sys/socket.h>

namespace penstock::test {

/// A port on loopback, of the system's choice, that connections are made to, and that then says
/// nothing: what a server is that was stopped, or is too busy to look.
class SilentListener {
  public:
    SilentListener() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
        const SocketAddress local = to_socket_address({IpAddress::v4(0x7f000001U), 0});
        is_listening_ = ::bind(socket_.get(), local.get(), local.length) == 0 &&
                        ::listen(socket_.get(), SOMAXCONN) == 0;
        sockaddr_storage address{};
        socklen_t length = sizeof(address);
        ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &length);
        port_ = to_endpoint(address).port;
    }

    [[nodiscard]] bool is_listening() const { return is_listening_; }
    /// How many connections were made to it since it was last asked.
    int connections() {
        int count = 0;
        while (UniqueFd(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC))) {
            ++count;
        }
        return count;
    }
    [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  private:
    UniqueFd socket_;
    bool is_listening_ = false;
    std::uint16_t port_ = 0;
};

}  // namespace penstock::test
