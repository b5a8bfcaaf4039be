#include "penstockctl/text_of.h"

#include "base/net_address.h"
#include "base/units.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace penstock::ctl {
namespace {

IpAddress address_from(const std::string& bytes) {
    IpAddress address;
    if (bytes.size() == 4) {
        std::uint32_t host_order = 0;
        for (const char byte : bytes) {
            host_order = host_order << 8U | static_cast<unsigned char>(byte);
        }
        address = IpAddress::v4(host_order);
    } else if (bytes.size() == address.bytes.size()) {
        std::copy(bytes.begin(), bytes.end(), address.bytes.begin());
    }
    return address;
}

}  // namespace

std::string text_of(const v1::Endpoint& endpoint) {
    if (endpoint.port() == 0) {
        return "-";
    }
    return to_string(
        Endpoint{address_from(endpoint.ip()), static_cast<std::uint16_t>(endpoint.port())});
}

std::string text_of_address(const std::string& bytes) { return to_string(address_from(bytes)); }

std::string text_of(const v1::Measure& measure) {
    return measure.supported() ? text_of_share(measure.share()) : "-";
}

std::string text_of_id(std::uint64_t id) { return fmt::format("{:016x}", id); }

std::string text_of_ms(std::uint64_t ms) {
    if (ms < 1000) {
        return fmt::format("{}ms", ms);
    }
    return fmt::format("{:.1f}s", static_cast<double>(ms) / 1000);
}

std::string text_of_share(double share) { return fmt::format("{:.3f}", share); }

std::string text_of_rate(std::uint64_t bits_per_second) {
    return bits_per_second == 0 ? "-" : format_bit_rate(bits_per_second);
}

std::string text_or_dash(const std::string& text) { return text.empty() ? "-" : text; }

}  // namespace penstock::ctl
