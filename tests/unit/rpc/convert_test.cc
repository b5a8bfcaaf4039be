#include "rpc/convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>

namespace penstock::control {
namespace {

using testing::HasSubstr;

const std::string kAddress("\x0a\x5b\x00\x01", 4);

v1::DataServerUp hello_with(const std::function<void(v1::DataServerHello&)>& change) {
    v1::DataServerUp up;
    v1::DataServerHello& hello = *up.mutable_hello();
    hello.set_protocol(1);
    hello.set_name("ds1");
    hello.set_boot_id(7);
    v1::Port& port = *hello.add_ports();
    port.set_name("net_null0");
    port.set_address(kAddress);
    change(hello);
    return up;
}

v1::DataServerUp report_with(const std::function<void(v1::StreamReport&)>& change) {
    v1::DataServerUp up;
    v1::StreamReport& report = *up.mutable_stream();
    report.set_stream_id(5);
    report.set_name("news");
    report.mutable_endpoint()->set_ip(kAddress);
    report.mutable_endpoint()->set_port(20'000);
    change(report);
    return up;
}

template <typename Up>
std::string error_of(const Up& up) {
    const auto message = from_proto(up);
    return message ? "" : message.error().message;
}

TEST(Convert, TakesADataServersHello) {
    const auto message = from_proto(hello_with([](auto&) {}));
    ASSERT_TRUE(message.ok());
    const auto& hello = std::get<DataServerHello>(*message);
    EXPECT_EQ(hello.name, "ds1");
    EXPECT_EQ(hello.boot_id, 7);
    ASSERT_EQ(hello.ports.size(), 1);
    EXPECT_EQ(to_string(hello.ports[0].address), "10.91.0.1");
}

TEST(Convert, RefusesADeclaredRateThatNoStreamHas) {
    v1::PublisherUp publisher;
    v1::PublisherHello& hello = *publisher.mutable_hello();
    hello.set_publisher_id(1);
    hello.set_stream("news");
    hello.set_start(v1::START_POLICY_DEMAND);
    hello.set_max_bits_per_second(kDeclaredRateMax);
    EXPECT_TRUE(from_proto(publisher).ok());
    hello.set_max_bits_per_second(std::uint64_t{1} << 63U);
    EXPECT_THAT(error_of(publisher), HasSubstr("more than 1 Tbit/s"));
}

TEST(Convert, RefusesNamesThatCouldForgeALineOrFillATable) {
    for (const std::string& name : {std::string(),
                                    std::string(256, 'a'),
                                    std::string("a\nb"),
                                    std::string("a\0b", 3),
                                    std::string("\x1b[31m"),
                                    std::string("caf\xc3\xa9")}) {
        EXPECT_THAT(error_of(hello_with([&](auto& hello) { hello.set_name(name); })),
                    HasSubstr("the name of a data server must have 1 to 255 bytes"));
        v1::PublisherUp publisher;
        publisher.mutable_hello()->set_publisher_id(1);
        publisher.mutable_hello()->set_stream(name);
        EXPECT_THAT(error_of(publisher), HasSubstr("the name of a stream"));
        v1::ConsumerUp consumer;
        consumer.mutable_request()->set_consumer_id(1);
        consumer.mutable_request()->set_stream(name);
        EXPECT_THAT(error_of(consumer), HasSubstr("the name of a stream"));
    }
    EXPECT_EQ(error_of(hello_with([](auto& hello) { hello.set_name(std::string(255, 'a')); })), "");
}

TEST(Convert, RefusesHellosOutOfRange) {
    EXPECT_NE(error_of(hello_with([](auto& hello) { hello.set_boot_id(0); })), "");
    EXPECT_NE(error_of(hello_with([](auto& hello) { hello.set_epoch_seen(~0ULL); })), "");
    EXPECT_NE(error_of(hello_with([](auto& hello) { hello.set_monotonic_ms(~0ULL); })), "");
    EXPECT_NE(error_of(hello_with([](auto& hello) {
                  for (std::size_t i = 0; i <= kPortsMax; ++i) {
                      hello.add_ports()->set_address(kAddress);
                  }
              })),
              "");
}

TEST(Convert, RefusesEndpointsNobodyCanSendTo) {
    const auto with_endpoint = [](const std::string& ip, std::uint32_t port) {
        return report_with([&](auto& report) {
            report.mutable_endpoint()->set_ip(ip);
            report.mutable_endpoint()->set_port(port);
        });
    };
    EXPECT_EQ(error_of(with_endpoint(kAddress, 65'535)), "");
    EXPECT_THAT(error_of(with_endpoint(kAddress, 0)), HasSubstr("a port is 1..65535"));
    EXPECT_THAT(error_of(with_endpoint(kAddress, 65'536)), HasSubstr("a port is 1..65535"));
    EXPECT_THAT(error_of(with_endpoint("abc", 1)), HasSubstr("4 or 16 bytes, not 3"));
    EXPECT_THAT(error_of(with_endpoint(std::string(4, '\0'), 1)),
                HasSubstr("no address of a host"));
    EXPECT_THAT(error_of(with_endpoint("\xe0\x01\x01\x01", 1)), HasSubstr("no address of a host"));
}

TEST(Convert, BoundsTheListsOfAReport) {
    const v1::DataServerUp up = report_with([](auto& report) {
        for (std::size_t i = 0; i <= kFlowsMax; ++i) {
            report.add_consumers();
        }
    });
    EXPECT_THAT(error_of(up), HasSubstr("at most 3000 consumers"));
    v1::DataServerUp load;
    for (std::size_t i = 0; i <= kQueuesMax; ++i) {
        load.mutable_load()->add_queues();
    }
    EXPECT_NE(error_of(load), "");
}

TEST(Convert, KeepsNotSupportedApartFromZero) {
    v1::DataServerUp up;
    v1::QueueLoad& queue = *up.mutable_load()->add_queues();
    queue.mutable_busy()->set_supported(true);
    const auto message = from_proto(up);
    ASSERT_TRUE(message.ok());
    const QueueLoad& load = std::get<LoadReport>(*message).queues.at(0);
    EXPECT_TRUE(std::get<LoadReport>(*message).ports.empty()) << "of a version that knows none";
    EXPECT_EQ(load.busy, Measure(0.0));
    EXPECT_EQ(load.rx_fill, Measure());
    const v1::LoadReport back = to_proto(std::get<LoadReport>(*message));
    EXPECT_TRUE(back.queues(0).busy().supported());
    EXPECT_FALSE(back.queues(0).rx_fill().supported());
}

TEST(Convert, MakesWordsOfPeersPrintable) {
    v1::PublisherUp up;
    up.mutable_report()->set_state(v1::DESIRED_STATE_START);
    up.mutable_report()->set_trouble("a\nb" + std::string(300, 'c'));
    const auto message = from_proto(up);
    ASSERT_TRUE(message.ok());
    const std::string& trouble = std::get<PublisherReport>(*message).trouble;
    EXPECT_EQ(trouble.substr(0, 4), "a?bc");
    EXPECT_EQ(trouble.size(), kTextBytesMax);
}

TEST(Convert, RefusesStatesAndPoliciesThatDoNotExist) {
    v1::PublisherUp report;
    report.mutable_report()->set_state(static_cast<v1::DesiredState>(99));
    EXPECT_NE(error_of(report), "");
    v1::PublisherUp hello;
    hello.mutable_hello()->set_publisher_id(1);
    hello.mutable_hello()->set_stream("news");
    hello.mutable_hello()->set_start(static_cast<v1::StartPolicy>(99));
    EXPECT_NE(error_of(hello), "");
}

TEST(Convert, RefusesEmptyMessages) {
    EXPECT_NE(error_of(v1::DataServerUp()), "");
    EXPECT_NE(error_of(v1::PublisherUp()), "");
    EXPECT_NE(error_of(v1::ConsumerUp()), "");
}

TEST(Convert, CarriesToADataServerWhatARecoveringOrFollowingPresenceSays) {
    StreamSet set;
    set.epoch = 7;
    set.generation = 2;
    for (const bool keeps : {false, true}) {
        set.keep_others = keeps;
        const auto reply = from_proto(to_proto(DataServerReply(set)));
        ASSERT_TRUE(reply.ok());
        EXPECT_EQ(std::get<StreamSet>(*reply).keep_others, keeps);
    }
    const auto reply = from_proto(to_proto(DataServerReply(Reject{"no", 300, "10.0.0.2:7400"})));
    ASSERT_TRUE(reply.ok());
    EXPECT_EQ(std::get<Reject>(*reply).leader, "10.0.0.2:7400");
    EXPECT_EQ(std::get<Reject>(*reply).retry_after_ms, 300);
}

TEST(Convert, RefusesAStreamSetWhoseEpochIsOutOfRange) {
    StreamSet set;
    for (const std::uint64_t epoch : {std::uint64_t{0}, kEpochMax + 1}) {
        set.epoch = epoch;
        EXPECT_FALSE(from_proto(to_proto(DataServerReply(set))).ok());
    }
    set.epoch = kEpochMax;
    EXPECT_TRUE(from_proto(to_proto(DataServerReply(set))).ok());
}

TEST(Convert, TakesFromAPublisherThatItTransmits) {
    v1::PublisherUp up;
    up.mutable_hello()->set_publisher_id(1);
    up.mutable_hello()->set_stream("news");
    for (const bool transmits : {false, true}) {
        up.mutable_hello()->set_transmitting(transmits);
        const auto message = from_proto(up);
        ASSERT_TRUE(message.ok());
        EXPECT_EQ(std::get<PublisherHello>(*message).transmitting, transmits);
    }
}

TEST(Convert, WritesWhatAPublisherIsDirectedTo) {
    PublisherDesired desired;
    desired.epoch = 3;
    desired.version = 4;
    desired.state = DesiredState::start;
    desired.data_server = "ds1";
    desired.endpoint = Endpoint{IpAddress::v4(0x0a5b0001U), 20'000};
    desired.ticket = TicketBytes{1, 2, 3};
    desired.session_key = SessionKeyBytes{4, 5};
    const v1::PublisherDown down = to_proto(PublisherReply(desired));
    ASSERT_TRUE(down.has_desired());
    EXPECT_EQ(down.desired().state(), v1::DESIRED_STATE_START);
    EXPECT_EQ(down.desired().endpoint().ip(), kAddress);
    EXPECT_EQ(down.desired().ticket().size(), 64);
    EXPECT_EQ(down.desired().ticket().substr(0, 3), "\x01\x02\x03");
    EXPECT_EQ(down.desired().session_key().size(), 16);
    EXPECT_FALSE(down.desired().has_also());
    desired.also = Place{"ds2", {IpAddress::v4(0x0a5b0001U), 20'001}, {6}, {7}};
    const v1::Place also = to_proto(PublisherReply(desired)).desired().also();
    EXPECT_EQ(also.data_server(), "ds2");
    EXPECT_EQ(also.endpoint().ip(), kAddress);
    EXPECT_EQ(also.endpoint().port(), 20'001);
    EXPECT_EQ(also.ticket().size(), 64);
    EXPECT_EQ(also.session_key().substr(0, 1), "\x07");
    desired.state = DesiredState::wait;
    desired.endpoint.reset();
    EXPECT_FALSE(to_proto(PublisherReply(desired)).desired().has_endpoint());
}

TEST(Convert, ReadsWhatAnOperatorWantsOfADataServer) {
    v1::ServerDutyRequest request;
    request.set_name("ds1");
    request.set_duty(v1::SERVER_DUTY_DRAINING);
    request.set_deadline_ms(1500);
    const auto command = from_proto(request);
    ASSERT_TRUE(command.ok());
    EXPECT_EQ(command->server, "ds1");
    EXPECT_EQ(command->duty, ServerDuty::draining);
    EXPECT_EQ(command->deadline, std::chrono::milliseconds(1500));
    request.set_deadline_ms(std::numeric_limits<std::uint64_t>::max());
    EXPECT_EQ(from_proto(request)->deadline, std::chrono::hours(24));
}

TEST(Convert, RefusesADutyOrANameItDoesNotKnow) {
    v1::ServerDutyRequest request;
    EXPECT_FALSE(from_proto(request).ok()) << "no name";
    request.set_name("ds\n1");
    EXPECT_FALSE(from_proto(request).ok());
    request.set_name("ds1");
    request.set_duty(static_cast<v1::ServerDuty>(9));
    EXPECT_FALSE(from_proto(request).ok());
}

}  // namespace
}  // namespace penstock::control
