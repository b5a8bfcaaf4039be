#include "penstock_publish/publish_options.h"

#include "penstock_publish/transmit_loop.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace penstock {
namespace {

using namespace std::chrono_literals;

Result<std::optional<PublishOptions>> parse(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "penstock-publish");
    return parse_publish_options(static_cast<int>(arguments.size()), arguments.data());
}
std::string trouble_with(const std::vector<const char*>& arguments) {
    const auto parsed = parse(arguments);
    return parsed ? "" : parsed.error().message;
}

TEST(PublishOptionsTest, ReadsEverySource) {
    const auto generated = parse({"camera", "--generate"});
    ASSERT_TRUE(generated);
    EXPECT_EQ((*generated)->source, SourceKind::generate);
    EXPECT_EQ((*generated)->bits_per_second, 20'000'000U);
    EXPECT_EQ((*generated)->payload_bytes, 1316U);
    EXPECT_EQ((*generated)->publisher.presence, std::vector<std::string>{"127.0.0.1:7400"});
    EXPECT_EQ((*generated)->publisher.start, StartPolicy::publish);

    const auto file = parse({"camera",
                             "--input",
                             "x.ts",
                             "--loop",
                             "--start",
                             "demand",
                             "--close-after",
                             "2s",
                             "--max-rate",
                             "8Mbit",
                             "--presence",
                             "10.0.0.1:7400",
                             "--insecure",
                             "--tls-ca",
                             "a",
                             "--tls-cert",
                             "c",
                             "--tls-key",
                             "k",
                             "--record",
                             "r",
                             "-j",
                             "--bind",
                             "10.0.0.2"});
    ASSERT_TRUE(file);
    EXPECT_EQ((*file)->source, SourceKind::input);
    EXPECT_EQ((*file)->from, "x.ts");
    EXPECT_EQ((*file)->bits_per_second, 0U);
    EXPECT_TRUE((*file)->loop);
    EXPECT_TRUE((*file)->json);
    EXPECT_EQ((*file)->record, "r");
    EXPECT_EQ((*file)->publisher.start, StartPolicy::demand);
    EXPECT_EQ((*file)->publisher.close_after, 2s);
    EXPECT_EQ((*file)->publisher.max_bits_per_second, 8'000'000U);
    EXPECT_EQ((*file)->publisher.bind_address, "10.0.0.2");
    EXPECT_TRUE((*file)->publisher.insecure);
    EXPECT_EQ((*file)->publisher.tls.authority, "a");
    EXPECT_EQ((*file)->publisher.tls.certificate, "c");
    EXPECT_EQ((*file)->publisher.tls.key, "k");

    EXPECT_EQ((*parse({"c", "--udp", "127.0.0.1:5000"}))->source, SourceKind::udp);
    EXPECT_EQ((*parse({"c", "--pcap", "x.pcap", "--rate", "1Mbit"}))->bits_per_second, 1'000'000U);
    EXPECT_EQ((*parse({"c", "--exec", "ffmpeg -i x"}))->from, "ffmpeg -i x");
    EXPECT_EQ((*parse({"c", "--generate", "--rate", "5Mbit", "--payload", "100"}))->payload_bytes,
              100U);
}

TEST(PublishOptionsTest, RefusesWhatDoesNotFitTogether) {
    EXPECT_NE(trouble_with({"c"}).find("nothing to send"), std::string::npos);
    EXPECT_NE(trouble_with({"c", "--generate", "--udp", "127.0.0.1:1"}).find("more than one"),
              std::string::npos);
    EXPECT_NE(trouble_with({"c", "--exec", "x", "--rate", "1Mbit"}).find("--rate"),
              std::string::npos);
    EXPECT_NE(trouble_with({"c", "--udp", "x", "--rate", "1Mbit"}).find("--rate"),
              std::string::npos);
    EXPECT_NE(trouble_with({"c", "--generate", "--loop"}).find("--loop"), std::string::npos);
    EXPECT_NE(trouble_with({"c", "--input", "-", "--loop"}).find("--loop"), std::string::npos);
    EXPECT_NE(trouble_with({"c", "--generate", "--payload", "31"}).find("payload"),
              std::string::npos);
    EXPECT_NE(trouble_with({"c", "--generate", "--payload", "1473"}).find("payload"),
              std::string::npos);
    EXPECT_NE(trouble_with({"c", "--generate", "--close-after", "1us"}).find("--close-after"),
              std::string::npos);
    EXPECT_NE(trouble_with({"--generate"}), "");
    EXPECT_NE(trouble_with({"c", "--generat"}).find("generate"), std::string::npos);
}

TEST(PublishStateLineTest, SaysStateVersionAndPlace) {
    const MonotonicTime now{1500ms};
    PublisherStatus status;
    EXPECT_EQ(state_line(status, false, now), "") << "connecting has no line";
    status.state = PublisherState::waiting;
    status.version = 3;
    EXPECT_EQ(state_line(status, false, now), "state waiting version=3");
    status.state = PublisherState::transmitting;
    status.data_server = "10.0.0.1:20000";
    EXPECT_EQ(state_line(status, false, now),
              "state transmitting version=3 data_server=10.0.0.1:20000");
    EXPECT_EQ(
        state_line(status, true, now),
        R"({"event":"state","state":"transmitting","version":3,"data_server":"10.0.0.1:20000",)"
        R"("monotonic_ms":1500})");
    status.datagrams_sent = 5;
    status.bytes_sent = 6;
    status.datagrams_unsent = 7;
    EXPECT_EQ(done_line(status),
              R"({"event":"done","datagrams_sent":5,"bytes_sent":6,"datagrams_unsent":7})");
}

}  // namespace
}  // namespace penstock
