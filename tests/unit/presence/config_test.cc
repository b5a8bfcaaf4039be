#include "presence/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <vector>

namespace penstock::presence {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

Result<std::optional<Config>> parse(std::initializer_list<const char*> arguments) {
    std::vector<const char*> argv{"penstock-presence"};
    argv.insert(argv.end(), arguments);
    return parse_config(static_cast<int>(argv.size()), argv.data());
}

std::string error_of(std::initializer_list<const char*> arguments) {
    const auto config = parse(arguments);
    return config ? "" : config.error().message;
}

TEST(PresenceConfig, ListensOnLoopbackByDefault) {
    const auto config = parse({});
    ASSERT_TRUE(config.ok() && config->has_value());
    EXPECT_EQ(to_string((*config)->listen), "127.0.0.1:7400");
    EXPECT_EQ((*config)->settings.recent_period, 10s);
    EXPECT_EQ((*config)->settings.close_after, 5s);
    EXPECT_FALSE((*config)->settings.rebalance);
}

TEST(PresenceConfig, TakesEveryOption) {
    const auto config =
        parse({"--listen", "0.0.0.0:0",          "--insecure", "--recent-period",
               "2s",       "--close-after",      "700ms",      "--utilisation-limit",
               "0.5",      "--reserve",          "0.05",       "--streams",
               "11",       "--consumers",        "12",         "--server-streams",
               "13",       "--server-consumers", "14",         "--server-rate",
               "15Mbit",   "--stream-consumers", "16",         "--ticket-lifetime",
               "30s",      "--rebalance"});
    ASSERT_TRUE(config.ok() && config->has_value());
    const Settings& settings = (*config)->settings;
    EXPECT_EQ((*config)->listen.port, 0);
    EXPECT_EQ(settings.recent_period, 2s);
    EXPECT_EQ(settings.close_after, 700ms);
    EXPECT_EQ(settings.utilisation_limit, 0.5);
    EXPECT_EQ(settings.reserve, 0.05);
    EXPECT_EQ(settings.streams_max, 11);
    EXPECT_EQ(settings.consumers_max, 12);
    EXPECT_EQ(settings.server_streams_max, 13);
    EXPECT_EQ(settings.server_consumers_max, 14);
    EXPECT_EQ(settings.server_bits_per_second_max, 15'000'000);
    EXPECT_EQ(settings.stream_consumers_max, 16);
    EXPECT_EQ(settings.ticket_lifetime, 30s);
    EXPECT_TRUE(settings.rebalance);
}

TEST(PresenceConfig, RefusesPlaintextBeyondLoopbackUnlessToldTo) {
    EXPECT_THAT(error_of({"--listen", "0.0.0.0:7400"}),
                HasSubstr("add --tls-cert and --tls-key, or --insecure"));
    const auto by_tls =
        parse({"--listen", "0.0.0.0:7400", "--tls-cert", "c", "--tls-key", "k", "--tls-ca", "a"});
    EXPECT_EQ((*by_tls)->tls.certificate, "c");
    EXPECT_EQ((*by_tls)->tls.key, "k");
    EXPECT_EQ((*by_tls)->tls.authority, "a");
    EXPECT_EQ(error_of({"--listen", "127.0.0.9:7400"}), "");
    EXPECT_EQ(error_of({"--listen", "[::1]:7400"}), "");
}

TEST(PresenceConfig, TakesAFileOrTheMembersOfAnEtcdForItsStore) {
    const auto file = parse({"--store", "/srv/presence.db"});
    EXPECT_EQ((*file)->store, "/srv/presence.db");
    EXPECT_TRUE((*file)->etcd.empty());
    const auto etcd = parse({"--store", "etcd://127.0.0.1:1,localhost:2,127.0.0.3:3"});
    EXPECT_THAT((*etcd)->etcd, testing::ElementsAre("127.0.0.1:1", "localhost:2", "127.0.0.3:3"));
    EXPECT_EQ((*etcd)->etcd_prefix, "/penstock");
    const auto prefix = parse({"--store", "etcd://127.0.0.1:1/site/a", "--advertise", "p1:7400"});
    EXPECT_THAT((*prefix)->etcd, testing::ElementsAre("127.0.0.1:1"));
    EXPECT_EQ((*prefix)->etcd_prefix, "/site/a");
    EXPECT_EQ((*prefix)->advertise, "p1:7400");
}

TEST(PresenceConfig, RefusesAnEtcdItCannotUse) {
    EXPECT_THAT(error_of({"--store", "etcd://"}), HasSubstr("is not HOST:PORT"));
    EXPECT_THAT(error_of({"--store", "etcd://127.0.0.1:1,,127.0.0.1:2"}),
                HasSubstr("is not HOST:PORT"));
    EXPECT_THAT(error_of({"--store", "etcd://10.0.0.1:2379"}),
                HasSubstr("add --etcd-ca FILE, or --insecure"));
    EXPECT_THAT(error_of({"--etcd-ca", "a"}), HasSubstr("are for --store etcd://"));
    EXPECT_THAT(
        error_of({"--listen", "0.0.0.0:7400", "--insecure", "--store", "etcd://127.0.0.1:1"}),
        HasSubstr("--advertise"));
    EXPECT_THAT(error_of({"--advertise", "p1:7400"}), HasSubstr("--store etcd://"));
    EXPECT_THAT(error_of({"--store",
                          "etcd://127.0.0.1:1,127.0.0.1:2,127.0.0.1:3,127.0.0.1:4,"
                          "127.0.0.1:5,127.0.0.1:6,127.0.0.1:7,127.0.0.1:8,"
                          "127.0.0.1:9,127.0.0.1:10"}),
                HasSubstr("at most 9"));
}

TEST(PresenceConfig, CallsAnEtcdBeyondLoopbackByTls) {
    const auto config = parse({"--store",
                               "etcd://10.0.0.1:2379",
                               "--etcd-ca",
                               "a",
                               "--etcd-cert",
                               "c",
                               "--etcd-key",
                               "k"});
    EXPECT_EQ((*config)->etcd_tls.authority, "a");
    EXPECT_EQ((*config)->etcd_tls.certificate, "c");
    EXPECT_EQ((*config)->etcd_tls.key, "k");
    EXPECT_FALSE((*config)->tls.any());
}

TEST(PresenceConfig, AdvertisesOnlyWhatOthersCanCall) {
    const auto error_of_advertising = [](const std::string& address) {
        return error_of({"--store", "etcd://127.0.0.1:1", "--advertise", address.c_str()});
    };
    for (const char* const good : {"p1:7400", "10.0.0.1:1", "[fd00::1]:65535"}) {
        EXPECT_EQ(error_of_advertising(good), "") << good;
    }
    for (const std::string& bad : {std::string("p1"),
                                   std::string("p1:"),
                                   std::string(":7400"),
                                   std::string("p1:0"),
                                   std::string("p1:65536"),
                                   std::string("p1:74x"),
                                   std::string("p 1:7400"),
                                   std::string("0.0.0.0:7400"),
                                   std::string(255, 'p') + ":7400"}) {
        EXPECT_THAT(error_of_advertising(bad), HasSubstr("is not HOST:PORT that others can call"))
            << bad;
    }
}

TEST(PresenceConfig, NamesTheOptionThatIsWrong) {
    EXPECT_THAT(error_of({"--listen", "here"}), HasSubstr("--listen: 'here'"));
    EXPECT_THAT(error_of({"--close-after", "5"}), HasSubstr("--close-after 5"));
    EXPECT_THAT(error_of({"--utilisation-limit", "2"}), HasSubstr("--utilisation-limit"));
    EXPECT_THAT(error_of({"--recent-periud", "1s"}), HasSubstr("--recent-period"));
}

}  // namespace
}  // namespace penstock::presence
