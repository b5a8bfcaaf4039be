#include "data_server/config.h"

#include "base/options.h"
#include "base/tls_options.h"
#include "base/units.h"
#include "dpdk/port.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cctype>
#include <charconv>
#include <sched.h>
#include <utility>

namespace penstock {
namespace {

constexpr std::size_t kIdBytesMax = 63;
constexpr std::size_t kInterfaceNameBytesMax = 15;  // IFNAMSIZ less its NUL
constexpr std::size_t kPresencesMax = 8;
// The server nonce changes every 10 s and the one before it still counts: a keepalive (which the
// client varies by 20 %) must come more often than that.
constexpr std::chrono::milliseconds kKeepaliveMost{8'000};

/// The options as they are written; checked and turned into a DataServerConfig afterwards.
struct Written {
    std::vector<std::string> ports;
    std::vector<std::string> addresses;
    std::string stream_ports = "20000-29999";
    std::uint64_t workers = 1;
    std::string worker_cpus = "auto";
    std::size_t poll = 0;
    std::uint64_t ring_packets = 4096;
    std::uint64_t streams_max = 1024;
    std::uint64_t consumers_max = 131072;
    std::string copy_threshold = "auto";
    std::chrono::nanoseconds lease = std::chrono::seconds{15};
    std::chrono::nanoseconds keepalive = std::chrono::seconds{5};
    std::uint64_t rx_descriptors = 1024;
    std::uint64_t tx_descriptors = 1024;
    std::uint64_t mtu = 1500;
};

template <typename... Values>
Error invalid(fmt::format_string<Values...> format, Values&&... values) {
    return {ErrorCode::invalid_argument, fmt::format(format, std::forward<Values>(values)...)};
}

std::string list_of(const std::set<unsigned>& cpus) {
    std::string text;
    for (const unsigned cpu : cpus) {
        if (!text.empty()) {
            text.push_back(',');
        }
        text.append(std::to_string(cpu));
    }
    return text;
}

template <typename T>
std::optional<T> parse_whole(std::string_view text) {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || text.empty()) {
        return std::nullopt;
    }
    return value;
}

/// "1", "0-3".
template <typename T>
std::optional<std::pair<T, T>> parse_range(std::string_view text) {
    const std::size_t dash = text.find('-');
    const auto first = parse_whole<T>(text.substr(0, dash));
    const auto last =
        dash == std::string_view::npos ? first : parse_whole<T>(text.substr(dash + 1));
    if (!first || !last || *first > *last) {
        return std::nullopt;
    }
    return std::pair{*first, *last};
}

bool is_name_character(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
}

Result<void> check_id(const std::string& id) {
    if (id.empty()) {
        return invalid("--id is missing: name this data server, as in --id ds1");
    }
    if (id.size() > kIdBytesMax || !std::ranges::all_of(id, is_name_character)) {
        return invalid("--id '{}' is not a name: use at most {} of letters, digits, '.', '-', '_'",
                       id,
                       kIdBytesMax);
    }
    return {};
}

/// HOST:PORT with a numeric address or a name. Plaintext only on loopback or with --insecure.
Result<void> check_presence(const std::string& address, bool is_plaintext_allowed) {
    const std::size_t colon = address.rfind(':');
    const auto host = std::string_view(address).substr(0, colon);
    const auto numeric = parse_endpoint(address);
    const auto port = colon == std::string::npos
                          ? std::nullopt
                          : parse_whole<std::uint16_t>(std::string_view(address).substr(colon + 1));
    const bool named = !host.empty() && std::ranges::all_of(host, is_name_character);
    if (!port || *port == 0 || (!numeric && !named)) {
        return invalid("--presence '{}' is not HOST:PORT; write it like 10.0.0.1:7400", address);
    }
    const bool loopback = numeric ? numeric->ip.is_loopback() : host == "localhost";
    if (!loopback && !is_plaintext_allowed) {
        return invalid(
            "--presence {} is not on loopback and the session is not encrypted: add "
            "--tls-ca FILE, or --insecure if that network is trusted",
            address);
    }
    return {};
}

Result<void> check_presences(const DataServerConfig& config) {
    if (config.presence.empty()) {
        return invalid(
            "--presence is missing: say where the presence server listens, as in "
            "--presence 127.0.0.1:7400");
    }
    if (config.presence.size() > kPresencesMax) {
        return invalid(
            "--presence is given {} times; at most {}", config.presence.size(), kPresencesMax);
    }
    for (const std::string& address : config.presence) {
        if (auto checked = check_presence(address, config.insecure || config.tls.any()); !checked) {
            return checked;
        }
    }
    return {};
}

/// [DOMAIN:]BUS:DEVICE.FUNCTION in hexadecimal, as lspci writes it.
bool is_pci_address(std::string_view name) noexcept {
    const auto hexadecimal = [](std::string_view text) {
        return !text.empty() &&
               std::ranges::all_of(text, [](unsigned char c) { return std::isxdigit(c) != 0; });
    };
    if (std::ranges::count(name, ':') == 2) {
        const std::string_view domain = name.substr(0, name.find(':'));
        if (domain.size() > 8 || !hexadecimal(domain)) {
            return false;
        }
        name.remove_prefix(domain.size() + 1);
    }
    return name.size() == 7 && hexadecimal(name.substr(0, 2)) && name[2] == ':' &&
           hexadecimal(name.substr(3, 2)) && name[5] == '.' && name[6] >= '0' && name[6] <= '7';
}

Result<void> check_devargs(const std::string& devargs) {
    const std::string_view name = device_name(devargs);
    const bool virtual_device =
        name.starts_with("net_") && name.size() > 4 && std::ranges::all_of(name, is_name_character);
    if (!virtual_device && !is_pci_address(name)) {
        return invalid(
            "--port '{}' names no DPDK device: write a virtual one like "
            "net_af_packet0,iface=eth1 or a PCI address like 0000:01:00.0",
            devargs);
    }
    return {};
}

Result<InterfaceAddress> parse_data_address(const std::string& text) {
    const auto parsed = parse_interface_address(text);
    if (!parsed) {
        return invalid("--address: {}", parsed.error().message);
    }
    const IpAddress& ip = parsed->ip;
    if (!ip.is_v4()) {
        return invalid("--address {} is IPv6; streams use IPv4 today", text);
    }
    if (ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || ip.v4() == 0xffffffff) {
        return invalid("--address {} cannot be the address of an interface", text);
    }
    const auto host_mask =
        static_cast<std::uint32_t>((std::uint64_t{1} << (32U - parsed->prefix_bits)) - 1);
    const std::uint32_t host = ip.v4() & host_mask;
    if (parsed->prefix_bits < 31 && (host == 0 || host == host_mask)) {
        return invalid("--address {} is the {} address of its network; take one between",
                       text,
                       host == 0 ? "first" : "broadcast");
    }
    return *parsed;
}

Result<std::vector<PortConfig>> pair_ports(const Written& written) {
    if (written.ports.empty()) {
        return invalid(
            "--port is missing: name a DPDK device, as in "
            "--port net_af_packet0,iface=eth1 --address 10.0.0.1/24");
    }
    if (written.ports.size() != written.addresses.size()) {
        return invalid("{} --port but {} --address: give each port its address, in the same order",
                       written.ports.size(),
                       written.addresses.size());
    }
    if (written.ports.size() > kPortsMax) {
        return invalid("{} --port; at most {}", written.ports.size(), kPortsMax);
    }
    std::vector<PortConfig> ports;
    for (std::size_t i = 0; i < written.ports.size(); ++i) {
        if (auto checked = check_devargs(written.ports[i]); !checked) {
            return std::move(checked).error();
        }
        const auto address = parse_data_address(written.addresses[i]);
        if (!address) {
            return address.error();
        }
        for (const PortConfig& other : ports) {
            if (other.address.ip == address->ip) {
                return invalid("--address {} is given twice; each port needs its own",
                               to_string(address->ip));
            }
            if (device_name(other.devargs) == device_name(written.ports[i])) {
                return invalid(
                    "--port {} is given twice; number virtual devices apart, as in "
                    "net_af_packet0 and net_af_packet1",
                    device_name(written.ports[i]));
            }
        }
        ports.push_back({written.ports[i], *address});
    }
    return ports;
}

Result<StreamPorts> parse_stream_ports(const std::string& text) {
    const auto range = parse_range<std::uint16_t>(text);
    if (!range || range->first < 1024) {
        return invalid(
            "--stream-ports '{}' is not a range within 1024-65535; write it like "
            "20000-29999",
            text);
    }
    return StreamPorts{range->first, range->second};
}

Result<std::vector<unsigned>> parse_worker_cpus(const Written& written,
                                                const std::set<unsigned>& usable) {
    std::vector<unsigned> cpus;
    if (written.worker_cpus == "auto") {
        // From the top: the lowest CPUs are where the system's own work tends to be.
        for (auto cpu = usable.rbegin(); cpu != usable.rend() && cpus.size() < written.workers;
             ++cpu) {
            cpus.push_back(*cpu);
        }
        if (cpus.size() < written.workers) {
            return invalid("--workers {} but only CPUs {} are usable; each worker needs its own",
                           written.workers,
                           list_of(usable));
        }
        return cpus;
    }
    std::string_view rest = written.worker_cpus;
    while (true) {
        const std::size_t comma = rest.find(',');
        const auto range = parse_range<unsigned>(rest.substr(0, comma));
        if (!range || range->second - range->first >= kWorkersMax) {
            return invalid("--worker-cpus '{}' is not a list of CPUs; write it like 1,2 or 1-3",
                           written.worker_cpus);
        }
        for (unsigned cpu = range->first; cpu <= range->second; ++cpu) {
            if (!usable.contains(cpu)) {
                return invalid(
                    "--worker-cpus: CPU {} does not exist or is not ours to use; usable "
                    "are {}",
                    cpu,
                    list_of(usable));
            }
            if (std::ranges::find(cpus, cpu) != cpus.end()) {
                return invalid("--worker-cpus: CPU {} is given twice; each worker needs its own",
                               cpu);
            }
            cpus.push_back(cpu);
        }
        if (comma == std::string_view::npos) {
            break;
        }
        rest.remove_prefix(comma + 1);
    }
    if (cpus.size() != written.workers) {
        return invalid("--worker-cpus names {} CPUs for --workers {}; give one per worker",
                       cpus.size(),
                       written.workers);
    }
    return cpus;
}

Result<std::optional<std::uint16_t>> parse_copy_threshold(const std::string& text) {
    if (text == "auto") {
        return std::optional<std::uint16_t>{};
    }
    const auto bytes = parse_bytes(text);
    if (!bytes || *bytes > 65535) {
        return invalid("--copy-threshold '{}' is neither 'auto' nor a size of at most 65535B",
                       text);
    }
    return std::optional{static_cast<std::uint16_t>(*bytes)};
}

/// A kernel interface name, with %d where the kernel puts a number.
Result<void> check_tap_name(const std::string& name, std::size_t ports) {
    const std::size_t percent = name.find('%');
    const bool numbered = percent != std::string::npos;
    const bool one_number = !numbered || (name.compare(percent, 2, "%d") == 0 &&
                                          name.find('%', percent + 1) == std::string::npos);
    const bool characters =
        std::ranges::all_of(name, [](char c) { return is_name_character(c) || c == '%'; });
    if (name.empty() || name.size() > kInterfaceNameBytesMax || !one_number || !characters ||
        name == "." || name == "..") {
        return invalid(
            "--tap-name '{}' is not an interface name: at most {} characters, with %d "
            "for a number",
            name,
            kInterfaceNameBytesMax);
    }
    if (ports > 1 && !numbered) {
        return invalid(
            "--tap-name '{}' names one interface but there are {} ports; add %d", name, ports);
    }
    return {};
}

Result<void> check_relations(const DataServerConfig& config) {
    constexpr std::uint32_t kRingPacketsMin = 16;
    if (config.ring_packets != 0 && config.ring_packets < kRingPacketsMin) {
        return invalid("--ring-packets {} is too few: use {} or more, or 0 to keep no history",
                       config.ring_packets,
                       kRingPacketsMin);
    }
    if (config.ring_packets != 0 && !std::has_single_bit(config.ring_packets)) {
        return invalid("--ring-packets {} is not a power of two; the next one is {}",
                       config.ring_packets,
                       std::bit_ceil(config.ring_packets));
    }
    if (config.lease < 2 * config.keepalive) {
        return invalid(
            "--lease {} is less than twice --keepalive {}: one lost packet would end a "
            "flow",
            format_duration(config.lease),
            format_duration(config.keepalive));
    }
    if (config.streams_max > config.stream_ports.count()) {
        return invalid("--streams-max {} but --stream-ports {}-{} has room for {}; widen it",
                       config.streams_max,
                       config.stream_ports.first,
                       config.stream_ports.last,
                       config.stream_ports.count());
    }
    return check_tap_name(config.tap_name, config.ports.size());
}

void declare(Options& options, DataServerConfig& config, Written& written) {
    using std::chrono::milliseconds;
    using std::chrono::seconds;
    options.text("id", config.id, "NAME", "name of this data server");
    options.texts("presence", config.presence, "HOST:PORT", "presence server; repeat for several");
    options.texts("port", written.ports, "DEVARGS", "DPDK device of a NIC port; repeatable");
    options.texts("address", written.addresses, "IP/PREFIX", "data address of that port");
    options.text("stream-ports", written.stream_ports, "A-B", "UDP ports for streams");
    options.number("workers", written.workers, 1, kWorkersMax, "worker lcores");
    options.text("worker-cpus", written.worker_cpus, "LIST", "CPUs of the workers, or auto");
    options.choice("poll", written.poll, {"adaptive", "busy"}, "what an idle worker does");
    options.flag("no-huge", config.no_huge, "use ordinary memory instead of hugepages");
    options.bytes("memory", config.memory_bytes, 64ULL << 20U, 1ULL << 40U, "memory for packets");
    options.number("ring-packets",
                   written.ring_packets,
                   0,
                   1U << 20U,
                   "newest packets kept of each stream: a power of two from 16 on; 0: no history");
    options.bytes("ring-bytes",
                  config.ring_bytes,
                  64ULL << 10U,
                  1ULL << 40U,
                  "newest payload kept of each stream");
    options.number("streams-max", written.streams_max, 1, 64512, "streams open at once");
    options.number("consumers-max", written.consumers_max, 1, 1U << 20U, "flows at once");
    options.text("copy-threshold",
                 written.copy_threshold,
                 "BYTES",
                 "payloads up to this are copied, larger ones chained; auto: by driver");
    options.duration(
        "lease", written.lease, seconds{1}, seconds{60}, "a silent flow ends after this");
    options.duration("keepalive",
                     written.keepalive,
                     milliseconds{100},
                     kKeepaliveMost,
                     "how often clients show that they live");
    options.text(
        "tap-name", config.tap_name, "NAME", "interface that gives Linux what is not ours");
    options.bit_rate("link-speed", config.link_bits_per_second, "of each port; 0: ask the driver");
    options.number(
        "rx-descriptors", written.rx_descriptors, 64, kRxDescriptorsMax, "of each receive queue");
    options.number(
        "tx-descriptors", written.tx_descriptors, 64, kTxDescriptorsMax, "of each transmit queue");
    options.number("mtu", written.mtu, kMtuMin, kMtuMax, "largest IP packet");
    add_caller_tls_options(options, config.tls);
    options.flag("insecure", config.insecure, "talk to presence without encryption off loopback");
}

/// Copies what needed no parsing beyond its range.
void take_numbers(const Written& written, DataServerConfig& config) {
    using std::chrono::duration_cast;
    using std::chrono::milliseconds;
    config.poll = written.poll == 0 ? PollMode::adaptive : PollMode::busy;
    config.ring_packets = static_cast<std::uint32_t>(written.ring_packets);
    config.streams_max = static_cast<std::uint32_t>(written.streams_max);
    config.consumers_max = static_cast<std::uint32_t>(written.consumers_max);
    config.lease = duration_cast<milliseconds>(written.lease);
    config.keepalive = duration_cast<milliseconds>(written.keepalive);
    config.rx_descriptors = static_cast<std::uint16_t>(written.rx_descriptors);
    config.tx_descriptors = static_cast<std::uint16_t>(written.tx_descriptors);
    config.mtu = static_cast<std::uint16_t>(written.mtu);
}

Result<void> fill(const Written& written,
                  const std::set<unsigned>& usable,
                  DataServerConfig& config) {
    take_numbers(written, config);
    if (auto checked = check_id(config.id); !checked) {
        return checked;
    }
    if (auto checked = check_presences(config); !checked) {
        return checked;
    }
    auto ports = pair_ports(written);
    if (!ports) {
        return std::move(ports).error();
    }
    config.ports = std::move(ports).value();
    const auto stream_ports = parse_stream_ports(written.stream_ports);
    if (!stream_ports) {
        return stream_ports.error();
    }
    config.stream_ports = *stream_ports;
    auto cpus = parse_worker_cpus(written, usable);
    if (!cpus) {
        return std::move(cpus).error();
    }
    config.worker_cpus = std::move(cpus).value();
    const auto threshold = parse_copy_threshold(written.copy_threshold);
    if (!threshold) {
        return threshold.error();
    }
    config.copy_threshold_bytes = *threshold;
    return check_relations(config);
}

}  // namespace

Result<std::optional<DataServerConfig>> parse_config(int argc,
                                                     const char* const* argv,
                                                     const std::set<unsigned>& usable) {
    DataServerConfig config;
    Written written;
    Options options("penstock-data", "Relays streams of UDP datagrams from NIC ports by DPDK.");
    declare(options, config, written);
    const auto outcome = options.parse(argc, argv);
    if (!outcome) {
        return outcome.error();
    }
    if (*outcome == Options::Outcome::exit) {
        return std::optional<DataServerConfig>{};
    }
    if (auto filled = fill(written, usable, config); !filled) {
        return std::move(filled).error();
    }
    config.effective = options.effective();
    return std::optional{std::move(config)};
}

std::set<unsigned> usable_cpus() {
    std::set<unsigned> cpus;
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (::sched_getaffinity(0, sizeof(allowed), &allowed) == 0) {
        for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
            if (CPU_ISSET(cpu, &allowed)) {
                cpus.insert(cpu);
            }
        }
    }
    return cpus;
}

}  // namespace penstock
