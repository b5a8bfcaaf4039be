#include "penstock_consume/consume_options.h"

#include "penstock_consume/receive_loop.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace penstock {
namespace {

using namespace std::chrono_literals;

Result<std::optional<ConsumeOptions>> parse(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "penstock-consume");
    return parse_consume_options(static_cast<int>(arguments.size()), arguments.data());
}
std::string trouble_with(const std::vector<const char*>& arguments) {
    const auto parsed = parse(arguments);
    return parsed ? "" : parsed.error().message;
}

TEST(ConsumeOptionsTest, WritesToStandardOutputUnlessToldOtherwise) {
    const auto plain = parse({"camera"});
    ASSERT_TRUE(plain);
    EXPECT_EQ((*plain)->output, OutputKind::stream);
    EXPECT_EQ((*plain)->to, "-");
    EXPECT_EQ((*plain)->consumer.wait, 0ms);
    EXPECT_FALSE((*plain)->length);
    EXPECT_FALSE((*plain)->count);
    EXPECT_EQ((*parse({"c", "--output", "f"}))->to, "f");
    EXPECT_EQ((*parse({"c", "--udp", "127.0.0.1:5000"}))->output, OutputKind::udp);
    EXPECT_EQ((*parse({"c", "--stats", "--output", "f"}))->output, OutputKind::stream)
        << "--stats may accompany the content";
}

TEST(ConsumeOptionsTest, ReadsEveryOption) {
    const auto all = parse({"c",         "--stats",   "-j",         "--report-interval",
                            "100ms",     "--history", "2s",         "--wait",
                            "forever",   "--for",     "1500ms",     "--count",
                            "7",         "--bind",    "10.0.0.1",   "--insecure",
                            "--tls-ca",  "a",         "--tls-cert", "c",
                            "--tls-key", "k",         "--presence", "10.0.0.2:7400"});
    ASSERT_TRUE(all);
    EXPECT_EQ((*all)->output, OutputKind::none) << "--stats alone writes no content";
    EXPECT_TRUE((*all)->stats);
    EXPECT_TRUE((*all)->json);
    EXPECT_EQ((*all)->report_interval, 100ms);
    EXPECT_EQ((*all)->consumer.history.duration, 2s);
    EXPECT_EQ((*all)->consumer.wait, std::chrono::milliseconds::max());
    EXPECT_EQ((*all)->length, 1500ms);
    EXPECT_EQ((*all)->count, 7U);
    EXPECT_EQ((*all)->consumer.bind_address, "10.0.0.1");
    EXPECT_TRUE((*all)->consumer.insecure);
    EXPECT_EQ((*all)->consumer.tls.authority, "a");
    EXPECT_EQ((*all)->consumer.tls.certificate, "c");
    EXPECT_EQ((*all)->consumer.tls.key, "k");
    EXPECT_EQ((*all)->consumer.presence, std::vector<std::string>{"10.0.0.2:7400"});
}

TEST(ConsumeOptionsTest, ReadsHistoryAsAmountOrLength) {
    EXPECT_EQ(parse_history("none")->packets, 0U);
    EXPECT_EQ(parse_history("500")->packets, 500U);
    EXPECT_EQ(parse_history("500")->duration, 0ms);
    EXPECT_EQ(parse_history("1500ms")->duration, 1500ms);
    EXPECT_EQ(parse_history("1us")->duration, 0ms + 1ms) << "never silently nothing";
    for (const char* wrong : {"", "-1", "all", "2 s", "4294967296"}) {
        const auto parsed = parse_history(wrong);
        ASSERT_FALSE(parsed) << wrong;
        EXPECT_NE(parsed.error().message.find("--history"), std::string::npos);
    }
}

TEST(ConsumeOptionsTest, RefusesWhatDoesNotFitTogether) {
    EXPECT_NE(trouble_with({"c", "--udp", "127.0.0.1:1", "--output", "f"}).find("more than one"),
              std::string::npos);
    EXPECT_NE(trouble_with({"c", "--wait", "soon"}).find("--wait"), std::string::npos);
    EXPECT_NE(trouble_with({"c", "--wait", "-1s"}), "");
    EXPECT_NE(trouble_with({}), "");
}

TEST(ConsumeStateLineTest, SaysStateAndPlace) {
    ConsumerStatus status;
    EXPECT_EQ(state_line(status, false), "");
    status.state = ConsumerState::waiting;
    EXPECT_EQ(state_line(status, false), "state waiting");
    status.state = ConsumerState::receiving;
    status.version = 2;
    status.data_server = "10.0.0.1:20000";
    EXPECT_EQ(state_line(status, false), "state receiving data_server=10.0.0.1:20000");
    EXPECT_EQ(
        state_line(status, true),
        R"({"event":"state","state":"receiving","version":2,"data_server":"10.0.0.1:20000"})");
}

TEST(ConsumeStatsLineTest, NamesEveryFigure) {
    StatsLine line;
    line.is_final = true;
    line.bits_per_second = 2e7;
    line.longest_gap = std::chrono::microseconds(12'500);
    line.status.state = ConsumerState::receiving;
    line.status.data_server = "10.0.0.1:20000";
    line.status.socket_overflows = 8;
    line.status.strangers = 9;
    line.content = {.kind = ContentKind::rtp,
                    .datagrams = 1,
                    .bytes = 2,
                    .lost = 3,
                    .duplicates = 4,
                    .reordered = 5,
                    .corrupt = 6,
                    .jitter_us = 7.5,
                    .first_sequence = 10,
                    .last_sequence = 11};
    EXPECT_EQ(stats_line(line, true),
              R"({"event":"stats","final":true,"state":"receiving","data_server":"10.0.0.1:20000",)"
              R"("datagrams":1,"bytes":2,"bits_per_second":20000000,"longest_gap_ms":12.5,)"
              R"("content":"rtp","lost":3,)"
              R"("duplicates":4,"reordered":5,"corrupt":6,"jitter_us":7.5,"first_sequence":10,)"
              R"("last_sequence":11,"socket_overflows":8,"strangers":9})");
    EXPECT_EQ(stats_line(line, false),
              "total receiving 20.000 Mbit/s datagrams=1 bytes=2 content=rtp lost=3 duplicates=4 "
              "reordered=5 corrupt=6 jitter=8us sequence=10..11 socket_overflows=8 strangers=9");
    line.content = {};
    EXPECT_NE(stats_line(line, true).find(R"("jitter_us":null,"first_sequence":null)"),
              std::string::npos);
    EXPECT_NE(stats_line(line, true).find(R"("content":"opaque")"), std::string::npos);
    EXPECT_EQ(stats_line(line, false).find("lost"), std::string::npos)
        << "not known of opaque content";
}

}  // namespace
}  // namespace penstock
