#include "data_server/config.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace penstock {
namespace {

const std::set<unsigned> kCpus{0, 1, 2, 3};

Result<std::optional<DataServerConfig>> parse(const std::vector<std::string>& arguments,
                                              const std::set<unsigned>& cpus = kCpus) {
    std::vector<const char*> argv{"penstock-data"};
    for (const std::string& argument : arguments) {
        argv.push_back(argument.c_str());
    }
    return parse_config(static_cast<int>(argv.size()), argv.data(), cpus);
}

/// What is needed and nothing more, then `more`.
std::vector<std::string> with(std::initializer_list<std::string> more) {
    std::vector<std::string> arguments{"--id",
                                       "ds1",
                                       "--presence",
                                       "127.0.0.1:7400",
                                       "--port",
                                       "net_af_packet0,iface=data0",
                                       "--address",
                                       "10.91.0.1/24"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
}

DataServerConfig good(const std::vector<std::string>& arguments) {
    auto config = parse(arguments);
    EXPECT_TRUE(config.ok()) << config.error().message;
    return config.ok() && *config ? **config : DataServerConfig{};
}

/// The one line that says why not.
std::string why_not(const std::vector<std::string>& arguments) {
    const auto config = parse(arguments);
    if (config.ok()) {
        ADD_FAILURE() << "was taken";
        return {};
    }
    EXPECT_EQ(config.error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(config.error().message.find('\n'), std::string::npos);
    return config.error().message;
}

testing::AssertionResult names(const std::string& message, const std::string& part) {
    if (message.find(part) != std::string::npos) {
        return testing::AssertionSuccess();
    }
    return testing::AssertionFailure() << "'" << message << "' does not say '" << part << "'";
}

TEST(Config, HasDefaultsForAllButNamesAndAddresses) {
    const DataServerConfig config = good(with({}));
    EXPECT_EQ(config.id, "ds1");
    ASSERT_EQ(config.ports.size(), 1U);
    EXPECT_EQ(config.ports[0].devargs, "net_af_packet0,iface=data0");
    EXPECT_EQ(to_string(config.ports[0].address), "10.91.0.1/24");
    EXPECT_EQ(config.stream_ports, (StreamPorts{20000, 29999}));
    EXPECT_EQ(config.worker_cpus, std::vector<unsigned>{3});
    EXPECT_EQ(config.poll, PollMode::adaptive);
    EXPECT_EQ(config.memory_bytes, 256U << 20U);
    EXPECT_EQ(config.lease, std::chrono::seconds{15});
    EXPECT_EQ(config.keepalive, std::chrono::seconds{5});
    EXPECT_EQ(config.copy_threshold_bytes, std::nullopt);
    EXPECT_TRUE(names(config.effective, "stream-ports = 20000-29999"));
}

TEST(Config, TakesEveryOption) {
    const DataServerConfig config = good(with({"--stream-ports",
                                               "30000-30009",
                                               "--workers",
                                               "2",
                                               "--worker-cpus",
                                               "1-2",
                                               "--poll",
                                               "busy",
                                               "--no-huge",
                                               "--memory",
                                               "1GiB",
                                               "--ring-packets",
                                               "1024",
                                               "--ring-bytes",
                                               "1MiB",
                                               "--streams-max",
                                               "10",
                                               "--consumers-max",
                                               "100",
                                               "--copy-threshold",
                                               "512B",
                                               "--lease",
                                               "3s",
                                               "--keepalive",
                                               "1s",
                                               "--tap-name",
                                               "tap%d",
                                               "--link-speed",
                                               "10Gbit",
                                               "--rx-descriptors",
                                               "2048",
                                               "--tx-descriptors",
                                               "512",
                                               "--mtu",
                                               "9000"}));
    EXPECT_EQ(config.stream_ports.count(), 10U);
    EXPECT_EQ(config.worker_cpus, (std::vector<unsigned>{1, 2}));
    EXPECT_EQ(config.poll, PollMode::busy);
    EXPECT_TRUE(config.no_huge);
    EXPECT_EQ(config.memory_bytes, 1U << 30U);
    EXPECT_EQ(config.ring_packets, 1024U);
    EXPECT_EQ(config.ring_bytes, 1U << 20U);
    EXPECT_EQ(config.streams_max, 10U);
    EXPECT_EQ(config.consumers_max, 100U);
    EXPECT_EQ(config.copy_threshold_bytes, 512);
    EXPECT_EQ(config.lease, std::chrono::seconds{3});
    EXPECT_EQ(config.keepalive, std::chrono::seconds{1});
    EXPECT_EQ(config.tap_name, "tap%d");
    EXPECT_EQ(config.link_bits_per_second, 10'000'000'000U);
    EXPECT_EQ(config.rx_descriptors, 2048);
    EXPECT_EQ(config.tx_descriptors, 512);
    EXPECT_EQ(config.mtu, 9000);
}

TEST(Config, PairsPortsWithAddressesInOrder) {
    const DataServerConfig config =
        good(with({"--port", "0000:01:00.0", "--address", "10.92.0.1/16"}));
    ASSERT_EQ(config.ports.size(), 2U);
    EXPECT_EQ(config.ports[1].devargs, "0000:01:00.0");
    EXPECT_EQ(to_string(config.ports[1].address), "10.92.0.1/16");
}

TEST(Config, WorkersGetTheHighestCpusUnlessTold) {
    EXPECT_EQ(good(with({"--workers", "3"})).worker_cpus, (std::vector<unsigned>{3, 2, 1}));
}

TEST(Config, PresenceMayBeANameOnLoopbackOrAnythingByTlsOrWithInsecure) {
    const auto base = [](const std::string& presence, bool insecure) {
        std::vector<std::string> arguments{"--id",
                                           "ds1",
                                           "--presence",
                                           presence,
                                           "--port",
                                           "net_null0",
                                           "--address",
                                           "10.91.0.1/24"};
        if (insecure) {
            arguments.emplace_back("--insecure");
        }
        return arguments;
    };
    EXPECT_EQ(good(base("localhost:7400", false)).presence[0], "localhost:7400");
    EXPECT_EQ(good(base("[::1]:7400", false)).presence[0], "[::1]:7400");
    EXPECT_EQ(good(base("10.90.0.1:7400", true)).presence[0], "10.90.0.1:7400");
    EXPECT_EQ(good(base("presence.example:7400", true)).presence[0], "presence.example:7400");
    EXPECT_TRUE(names(why_not(base("10.90.0.1:7400", false)), "--insecure"));
    EXPECT_TRUE(names(why_not(base("presence.example:7400", false)), "--insecure"));
    auto by_tls = base("10.90.0.1:7400", false);
    by_tls.insert(by_tls.end(), {"--tls-ca", "a", "--tls-cert", "c", "--tls-key", "k"});
    const TlsFiles tls = good(by_tls).tls;
    EXPECT_EQ(tls.authority + tls.certificate + tls.key, "ack");
    for (const char* bad :
         {"10.90.0.1", ":7400", "host:", "host:0", "host:65536", "ho st:1", "::1:2"}) {
        EXPECT_TRUE(names(why_not(base(bad, true)), "HOST:PORT")) << bad;
    }
}

TEST(Config, SaysWhatIsMissing) {
    EXPECT_TRUE(names(why_not({}), "--id"));
    EXPECT_TRUE(names(why_not({"--id", "ds1"}), "--presence"));
    EXPECT_TRUE(names(why_not({"--id", "ds1", "--presence", "127.0.0.1:1"}), "--port"));
    EXPECT_TRUE(names(why_not(with({"--port", "net_null1"})), "2 --port but 1 --address"));
}

TEST(Config, SaysWhatIsWrong) {
    const std::vector<std::pair<std::vector<std::string>, std::string>> table{
        {with({"--port", "net_null1", "--address", "10.91.0.1/16"}), "10.91.0.1 is given twice"},
        {with({"--port", "net_af_packet0,iface=x", "--address", "10.91.0.2/24"}), "number virtual"},
        {with({"--port", "eth0", "--address", "10.91.0.2/24"}), "names no DPDK device"},
        {with({"--port", "0000:01:00", "--address", "10.91.0.2/24"}), "names no DPDK device"},
        {with({"--port", "0000:01:00.8", "--address", "10.91.0.2/24"}), "names no DPDK device"},
        {with({"--port", "net_null1", "--address", "10.91.0.2"}), "10.91.0.2"},
        {with({"--port", "net_null1", "--address", "10.91.0.2/33"}), "10.91.0.2/33"},
        {with({"--port", "net_null1", "--address", "10.92.0.255/24"}), "broadcast"},
        {with({"--port", "net_null1", "--address", "10.92.0.0/24"}), "first"},
        {with({"--port", "net_null1", "--address", "127.0.0.1/8"}), "cannot be"},
        {with({"--port", "net_null1", "--address", "224.0.0.1/24"}), "cannot be"},
        {with({"--port", "net_null1", "--address", "fd00::1/64"}), "IPv6"},
        {with({"--stream-ports", "30000-20000"}), "--stream-ports"},
        {with({"--stream-ports", "80-20000"}), "1024-65535"},
        {with({"--stream-ports", "20000-70000"}), "--stream-ports"},
        {with({"--stream-ports", "20000-20009"}), "--streams-max 1024"},
        {with({"--workers", "5"}), "0,1,2,3"},
        {with({"--worker-cpus", "4"}), "CPU 4 does not exist"},
        {with({"--worker-cpus", "1,1", "--workers", "2"}), "CPU 1 is given twice"},
        {with({"--worker-cpus", "1,2"}), "2 CPUs for --workers 1"},
        {with({"--worker-cpus", "1,"}), "not a list"},
        {with({"--worker-cpus", "0-4294967295"}), "not a list"},
        {with({"--ring-packets", "1000"}), "1024"},
        {with({"--ring-packets", "8"}), "or 0 to keep no history"},
        {with({"--lease", "9s"}), "twice --keepalive"},
        {with({"--keepalive", "9s"}), "--keepalive"},
        {with({"--copy-threshold", "some"}), "--copy-threshold"},
        {with({"--copy-threshold", "65536B"}), "--copy-threshold"},
        {with({"--tap-name", "a/b"}), "--tap-name"},
        {with({"--tap-name", "%s"}), "--tap-name"},
        {with({"--tap-name", "pst%d%d"}), "--tap-name"},
        {with({"--tap-name", "sixteen-letters-"}), "--tap-name"},
        {with({"--tap-name", "pst", "--port", "net_null1", "--address", "10.92.0.1/24"}), "add %d"},
        {with({"--mtu", "100"}), "--mtu"},
        {with({"--no-such-thing"}), "no-such-thing"},
        {{"--id", "a b", "--presence", "127.0.0.1:1"}, "--id 'a b'"},
    };
    for (const auto& [arguments, part] : table) {
        EXPECT_TRUE(names(why_not(arguments), part));
    }
}

/// Every example in dpdk-config/profiles is what the program takes.
TEST(Config, TakesEveryProfile) {
    std::size_t profiles = 0;
    for (const auto& file : std::filesystem::directory_iterator(PENSTOCK_PROFILES)) {
        const auto config = parse({"--config", file.path().string()});
        ASSERT_TRUE(config.ok()) << file.path() << ": " << config.error().message;
        const std::string stem = file.path().stem().string();
        const std::string& devargs = (**config).ports.at(0).devargs;
        EXPECT_TRUE(stem == "vfio" ? devargs == "0000:01:00.0" : devargs.starts_with("net_" + stem))
            << file.path();
        ++profiles;
    }
    EXPECT_EQ(profiles, 7U);
}

TEST(Config, EffectiveOptionsAreAConfigOfTheirOwn) {
    const std::filesystem::path file =
        std::filesystem::path(testing::TempDir()) / "effective_config.conf";
    std::ofstream(file) << good(with({"--workers", "2", "--lease", "20s"})).effective;
    const DataServerConfig again = good({"--config", file.string()});
    EXPECT_EQ(again.worker_count(), 2U);
    EXPECT_EQ(again.lease, std::chrono::seconds{20});
    EXPECT_EQ(to_string(again.ports.at(0).address), "10.91.0.1/24");
    std::filesystem::remove(file);
}

}  // namespace
}  // namespace penstock
