#include "data_server/neighbours.h"

#include "base/byte_order.h"

#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/rtnl.h>
#include <netlink/socket.h>

#include <algorithm>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <utility>

namespace penstock {
namespace {

constexpr int kMessagesPerCall = 256;
constexpr int kUnusableStates = NUD_INCOMPLETE | NUD_FAILED | NUD_NOARP;

}  // namespace

std::optional<MacAddress> NeighbourTable::learn(std::uint8_t port,
                                                const IpAddress& ip,
                                                const MacAddress& mac) {
    const auto known = known_.find({port, ip});
    if (known == known_.end()) {
        if (known_.size() < kNeighboursMax) {
            known_.emplace(std::pair{port, ip}, mac);
        }
        return std::nullopt;
    }
    const MacAddress before = std::exchange(known->second, mac);
    return before == mac ? std::nullopt : std::optional(before);
}

Neighbours::Neighbours(NetlinkSocket socket, std::vector<unsigned> if_indexes)
    : socket_(std::move(socket)), if_indexes_(std::move(if_indexes)) {}

Result<std::unique_ptr<Neighbours>> Neighbours::open(std::vector<unsigned> if_indexes) {
    auto socket = open_netlink();
    if (!socket) {
        return std::move(socket).error();
    }
    nl_sock* raw = socket->get();
    std::unique_ptr<Neighbours> self(
        new Neighbours(std::move(socket).value(), std::move(if_indexes)));
    nl_socket_disable_seq_check(raw);  // notifications answer no request of ours
    nl_socket_modify_cb(raw, NL_CB_VALID, NL_CB_CUSTOM, &Neighbours::on_message, self.get());
    if (const int code = nl_socket_add_memberships(raw, RTNLGRP_NEIGH, 0); code < 0) {
        return netlink_error("cannot follow the neighbour table", code);
    }
    if (const int code = nl_socket_set_nonblocking(raw); code < 0) {
        return netlink_error("cannot follow the neighbour table", code);
    }
    self->ask_for_all();
    return self;
}

int Neighbours::fd() const noexcept { return nl_socket_get_fd(socket_.get()); }

void Neighbours::receive(const std::function<void(const Change&)>& changed) {
    for (int i = 0; i < kMessagesPerCall; ++i) {
        const int code = nl_recvmsgs_default(socket_.get());
        if (code == -NLE_NOMEM) {
            ask_for_all();  // the kernel's buffer ran over: some notifications are lost
        } else if (code < 0) {
            break;
        }
    }
    for (const Change& change : std::exchange(changes_, {})) {
        changed(change);
    }
}

void Neighbours::ask_for_all() {
    // The answer comes with the notifications.
    nl_rtgen_request(socket_.get(), RTM_GETNEIGH, AF_UNSPEC, NLM_F_DUMP);
}

int Neighbours::on_message(nl_msg* message, void* self) {
    auto& neighbours = *static_cast<Neighbours*>(self);
    nlmsghdr* header = nlmsg_hdr(message);
    if (header->nlmsg_type != RTM_NEWNEIGH) {
        return NL_OK;
    }
    rtnl_neigh* raw = nullptr;
    if (rtnl_neigh_parse(header, &raw) < 0) {
        return NL_OK;
    }
    const std::unique_ptr<rtnl_neigh, decltype(&rtnl_neigh_put)> neighbour(raw, &rtnl_neigh_put);
    const auto port = std::ranges::find(neighbours.if_indexes_,
                                        static_cast<unsigned>(rtnl_neigh_get_ifindex(raw)));
    nl_addr* mac = rtnl_neigh_get_lladdr(raw);
    nl_addr* ip = rtnl_neigh_get_dst(raw);
    if (port == neighbours.if_indexes_.end() || mac == nullptr || nl_addr_get_len(mac) != 6 ||
        ip == nullptr || nl_addr_get_family(ip) != AF_INET ||
        (rtnl_neigh_get_state(raw) & kUnusableStates) != 0) {
        return NL_OK;
    }
    Be32 address;
    __builtin_memcpy(&address, nl_addr_get_binary_addr(ip), sizeof(address));
    MacAddress now;
    std::copy_n(
        static_cast<const std::uint8_t*>(nl_addr_get_binary_addr(mac)), 6, now.bytes.begin());
    const auto index = static_cast<std::uint8_t>(port - neighbours.if_indexes_.begin());
    const IpAddress source = IpAddress::v4(address);
    if (const auto before = neighbours.table_.learn(index, source, now)) {
        neighbours.changes_.push_back({index, source, *before, now});
    }
    return NL_OK;
}

}  // namespace penstock
