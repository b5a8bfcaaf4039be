#include "dpdk/linux_link.h"

#include "base/unique_fd.h"

#include <cerrno>
#include <cstring>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace penstock {

LinkState linux_link(std::uint32_t interface_index) noexcept {
    ifreq request{};
    if (::if_indextoname(interface_index, request.ifr_name) == nullptr) {
        return errno == ENXIO || errno == ENODEV ? LinkState::down : LinkState::unknown;
    }
    const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ethtool_value value{};
    value.cmd = ETHTOOL_GLINK;
    request.ifr_data = reinterpret_cast<char*>(&value);
    if (!socket || ::ioctl(socket.get(), SIOCETHTOOL, &request) != 0) {
        return LinkState::unknown;  // its driver does not say
    }
    return value.data != 0 ? LinkState::up : LinkState::down;
}

}  // namespace penstock
