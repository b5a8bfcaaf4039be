#pragma once

#include <cstdint>

namespace penstock {

enum class LinkState {
    unknown,  // nobody says; never the same as up
    up,
    down,
};

/// The link of a Linux interface: up if the interface is, with carrier; down also if it is gone.
/// Source: ethtool(8), ETHTOOL_GLINK, which unlike IFF_RUNNING does not lag behind the carrier.
LinkState linux_link(std::uint32_t interface_index) noexcept;

}  // namespace penstock
