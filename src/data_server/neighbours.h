#pragma once

#include "base/net_address.h"
#include "data_server/netlink.h"

#include <penstock/result.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

struct nl_msg;

namespace penstock {

/// Which MAC address each neighbour was last seen with. Pure.
class NeighbourTable {
  public:
    /// Neighbours remembered; Linux itself keeps no more than 1,024 unless told otherwise.
    static constexpr std::size_t kNeighboursMax = 4096;

    /// Returns: the MAC address the neighbour had before, if it had another.
    std::optional<MacAddress> learn(std::uint8_t port, const IpAddress& ip, const MacAddress& mac);

  private:
    std::map<std::pair<std::uint8_t, IpAddress>, MacAddress> known_;
};

/// Listens to what Linux learns of the neighbours on the exception TAPs. Thread: control.
class Neighbours {
  public:
    struct Change {
        std::uint8_t port;
        IpAddress ip;
        MacAddress before;
        MacAddress now;
    };

    /// `if_indexes`: of the TAPs, by port.
    static Result<std::unique_ptr<Neighbours>> open(std::vector<unsigned> if_indexes);

    /// Hands every change since the last call to `changed`; never blocks.
    void receive(const std::function<void(const Change&)>& changed);
    [[nodiscard]] int fd() const noexcept;

  private:
    Neighbours(NetlinkSocket socket, std::vector<unsigned> if_indexes);
    static int on_message(nl_msg* message, void* self);
    void ask_for_all();

    NetlinkSocket socket_;
    std::vector<unsigned> if_indexes_;
    NeighbourTable table_;
    std::vector<Change> changes_;
};

}  // namespace penstock
