#include "data_server/interface_claim.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <sys/socket.h>
#include <sys/un.h>

namespace penstock {

Result<UniqueFd> claim_interface(const std::string& interface, unsigned if_index) {
    UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    // sun_path[0] stays 0, which makes the name abstract; its length says where it ends.
    const std::string name = fmt::format("penstock-data/{}", if_index);
    std::memcpy(&address.sun_path[1], name.data(), name.size());
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    if (socket && ::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), length) == 0) {
        return socket;
    }
    const int error = errno;
    if (error == EADDRINUSE) {
        return Error{ErrorCode::already_exists,
                     fmt::format("interface {} is in use by another penstock-data: give each an "
                                 "interface of its own, or end that one first",
                                 interface)};
    }
    return Error{ErrorCode::system,
                 fmt::format("interface {} cannot be claimed: {}; see `ulimit -n`",
                             interface,
                             std::strerror(error))};  // NOLINT(concurrency-mt-unsafe): start-up
}

}  // namespace penstock
