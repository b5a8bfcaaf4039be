#include "data_server/netlink.h"

#include <fmt/format.h>
#include <netlink/addr.h>
#include <netlink/cache.h>
#include <netlink/errno.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/socket.h>

#include <algorithm>
#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

namespace penstock {
namespace {

struct Deleter {
    void operator()(nl_addr* address) const noexcept { nl_addr_put(address); }
    void operator()(rtnl_link* link) const noexcept { rtnl_link_put(link); }
    void operator()(rtnl_addr* address) const noexcept { rtnl_addr_put(address); }
    void operator()(nl_cache* cache) const noexcept { nl_cache_free(cache); }
};
template <typename T>
using Owned = std::unique_ptr<T, Deleter>;

Owned<nl_addr> to_netlink(const InterfaceAddress& address) {
    const bool v4 = address.ip.is_v4();
    const auto* bytes = address.ip.bytes.data() + (v4 ? 12 : 0);
    Owned<nl_addr> result(nl_addr_build(v4 ? AF_INET : AF_INET6, bytes, v4 ? 4 : 16));
    nl_addr_set_prefixlen(result.get(), address.prefix_bits);
    return result;
}

InterfaceAddress from_netlink(nl_addr* address) {
    InterfaceAddress result;
    const auto* bytes = static_cast<const std::uint8_t*>(nl_addr_get_binary_addr(address));
    if (nl_addr_get_family(address) == AF_INET) {
        result.ip = IpAddress::v4(std::uint32_t{bytes[0]} << 24U | std::uint32_t{bytes[1]} << 16U |
                                  std::uint32_t{bytes[2]} << 8U | bytes[3]);
    } else {
        std::copy_n(bytes, result.ip.bytes.size(), result.ip.bytes.begin());
    }
    result.prefix_bits = static_cast<std::uint8_t>(nl_addr_get_prefixlen(address));
    return result;
}

}  // namespace

void NetlinkSocketDeleter::operator()(nl_sock* socket) const noexcept { nl_socket_free(socket); }

Error netlink_error(std::string_view what, int code) {
    return {ErrorCode::system, fmt::format("{}: {}", what, nl_geterror(code))};
}

Result<NetlinkSocket> open_netlink() {
    NetlinkSocket socket(nl_socket_alloc());
    if (!socket) {
        return Error{ErrorCode::exhausted, "cannot open a netlink socket: out of memory"};
    }
    if (const int code = nl_connect(socket.get(), NETLINK_ROUTE); code < 0) {
        return netlink_error("cannot open a netlink socket", code);
    }
    return socket;
}

Result<void> configure_link(nl_sock& socket, unsigned if_index, const LinkSettings& settings) {
    const Owned<rtnl_link> which(rtnl_link_alloc());
    const Owned<rtnl_link> change(rtnl_link_alloc());
    const Owned<nl_addr> mac(nl_addr_build(AF_LLC, settings.mac.bytes.data(), 6));
    rtnl_link_set_ifindex(which.get(), static_cast<int>(if_index));
    if (settings.mac != MacAddress{}) {
        rtnl_link_set_addr(change.get(), mac.get());
    }
    rtnl_link_set_mtu(change.get(), settings.mtu);
    rtnl_link_set_flags(change.get(), IFF_UP);
    if (const int code = rtnl_link_change(&socket, which.get(), change.get(), 0); code < 0) {
        return netlink_error(
            fmt::format(
                "cannot set MAC address {} and MTU {}", to_string(settings.mac), settings.mtu),
            code);
    }
    const Owned<rtnl_addr> address(rtnl_addr_alloc());
    const Owned<nl_addr> local = to_netlink(settings.address);
    rtnl_addr_set_ifindex(address.get(), static_cast<int>(if_index));
    if (int code = rtnl_addr_set_local(address.get(), local.get()); code < 0) {
        return netlink_error("cannot name an address", code);
    }
    if (const int code = rtnl_addr_add(&socket, address.get(), 0); code < 0) {
        return netlink_error(fmt::format("cannot add address {}", to_string(settings.address)),
                             code);
    }
    return {};
}

Result<std::vector<InterfaceAddress>> addresses_of(nl_sock& socket, unsigned if_index) {
    nl_cache* raw = nullptr;
    if (const int code = rtnl_addr_alloc_cache(&socket, &raw); code < 0) {
        return netlink_error("cannot list addresses", code);
    }
    const Owned<nl_cache> cache(raw);
    std::vector<InterfaceAddress> found;
    for (nl_object* object = nl_cache_get_first(raw); object != nullptr;
         object = nl_cache_get_next(object)) {
        auto* address = reinterpret_cast<rtnl_addr*>(object);
        nl_addr* local = rtnl_addr_get_local(address);
        const bool ours = rtnl_addr_get_ifindex(address) == static_cast<int>(if_index) &&
                          rtnl_addr_get_scope(address) < RT_SCOPE_LINK && local != nullptr;
        if (ours) {
            found.push_back(from_netlink(local));
        }
    }
    return found;
}

}  // namespace penstock
