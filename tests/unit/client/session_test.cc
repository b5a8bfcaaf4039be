// The library's Publisher and Consumer against a presence and data servers that say what the test
// says, over real sockets on loopback.
#include "base/socket_address.h"
#include "client/session_socket.h"
#include "support/silent_listener.h"
#include "unit/client/scripted_data_server.h"
#include "unit/client/scripted_presence.h"

#include <penstock/consumer.h>
#include <penstock/publisher.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <poll.h>
#include <string>
#include <sys/socket.h>

namespace penstock {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

/// A data server's port: a socket and the words of the handshake.
class DataPort {
  public:
    DataPort() {
        socket_ = std::move(
            open_udp_socket({.family = AF_INET, .local = {IpAddress::v4(0x7f000001), 0}}).value());
        // Binding to port 0 with an address gives one.
        sockaddr_storage address{};
        socklen_t length = sizeof(address);
        ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &length);
        endpoint = to_endpoint(address);
    }

    /// The next datagram; empty if none comes.
    Bytes receive() {
        pollfd polled{.fd = socket_.get(), .events = POLLIN, .revents = 0};
        ::poll(&polled, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count()));
        if (batch_.receive(socket_.get(), 1) == 0) {
            return {};
        }
        client = batch_.from(0);
        const auto payload = batch_.payload(0);
        return {payload.begin(), payload.end()};
    }
    /// What is there already; empty if nothing is.
    Bytes receive_now() {
        if (batch_.receive(socket_.get(), 1) == 0) {
            return {};
        }
        const auto payload = batch_.payload(0);
        return {payload.begin(), payload.end()};
    }
    /// The next message of this type; others are passed over.
    template <typename Message>
    Message wait_for(MessageType type) {
        for (Bytes bytes = receive(); !bytes.empty(); bytes = receive()) {
            if (message_type(bytes) == type) {
                return read_message<Message>(bytes);
            }
        }
        ADD_FAILURE() << "message " << static_cast<int>(type) << " did not come";
        return {};
    }
    void send(const Bytes& bytes) { send_datagram(socket_.get(), client, bytes); }

    /// The whole handshake.
    JoinMessage accept_join() {
        auto join = wait_for<JoinMessage>(MessageType::join);
        send(ScriptedDataServer::challenge(join, 99));
        do {
            join = wait_for<JoinMessage>(MessageType::join);
        } while (join.cookie.mac != 99U && !testing::Test::HasFailure());
        send(server.accept(join));
        return join;
    }

    Endpoint endpoint;
    Endpoint client;
    ScriptedDataServer server;

  private:
    UniqueFd socket_;
    ReceivedBatch batch_;
};

template <typename Message>
void fill_place(Message& message, const DataPort& port) {
    const std::uint32_t ip = __builtin_bswap32(port.endpoint.ip.v4());
    message.mutable_endpoint()->set_ip(&ip, sizeof(ip));
    message.mutable_endpoint()->set_port(port.endpoint.port);
    message.set_data_server("ds1");
    message.set_ticket(std::string(sizeof(Ticket), 't'));
    message.set_session_key(port.server.key.bytes.data(), port.server.key.bytes.size());
}

Bytes text(const std::string& words) {
    const auto bytes = std::as_bytes(std::span(words));
    return {bytes.begin(), bytes.end()};
}

class PublisherTest : public testing::Test {
  protected:
    void open(std::vector<std::string> before = {}, const std::vector<std::string>& after = {}) {
        PublisherOptions options;
        options.presence = std::move(before);
        options.presence.push_back(presence.address());
        options.presence.insert(options.presence.end(), after.begin(), after.end());
        options.stream = "camera";
        options.start = StartPolicy::demand;
        options.max_bits_per_second = 1000;
        options.close_after = 1500ms;
        auto opened = Publisher::open(options);
        ASSERT_TRUE(opened) << opened.error().message;
        publisher = std::move(opened.value());
        hello = presence.publishers.hear().hello();
    }
    void desire(v1::DesiredState state,
                std::uint64_t version,
                const DataPort* at = nullptr,
                std::uint64_t epoch = 5,
                const DataPort* also = nullptr) {
        v1::PublisherDown down;
        v1::PublisherDesired& desired = *down.mutable_desired();
        desired.set_epoch(epoch);
        desired.set_version(version);
        desired.set_state(state);
        if (at != nullptr) {
            fill_place(desired, *at);
        }
        if (also != nullptr) {
            fill_place(*desired.mutable_also(), *also);
        }
        presence.publishers.say(down);
    }
    v1::PublisherReport reported() { return presence.publishers.hear().report(); }
    /// A report that we transmit.
    void hear_transmitting() {
        presence.publishers.hear_until(
            [](const v1::PublisherUp& up) { return up.report().transmitting(); });
    }
    void wait_for(PublisherState state) {
        PublisherStatus status = publisher->status();
        const auto give_up_at = std::chrono::steady_clock::now() + kPatience;
        while (status.state != state && std::chrono::steady_clock::now() < give_up_at) {
            status = publisher->wait_change(status, 1s);
        }
        EXPECT_EQ(status.state, state);
    }
    void transmit_at(DataPort& at, std::uint64_t version) {
        desire(v1::DESIRED_STATE_START, version, &at);
        at.accept_join();
        hear_transmitting();
        wait_for(PublisherState::transmitting);
    }
    std::size_t publish(const std::vector<Bytes>& payloads) {
        const std::vector<std::span<const std::byte>> spans(payloads.begin(), payloads.end());
        return publisher->publish(spans);
    }

    ScriptedPresence presence;
    DataPort port;
    std::unique_ptr<Publisher> publisher;
    v1::PublisherHello hello;
};

TEST_F(PublisherTest, SaysWhoItIsAndWaits) {
    open();
    EXPECT_EQ(hello.protocol(), 1U);
    EXPECT_NE(hello.publisher_id(), 0U);
    EXPECT_EQ(hello.stream(), "camera");
    EXPECT_EQ(hello.start(), v1::START_POLICY_DEMAND);
    EXPECT_EQ(hello.max_bits_per_second(), 1000U);
    EXPECT_EQ(hello.close_after_ms(), 1500U);
    desire(v1::DESIRED_STATE_WAIT, 1);
    const v1::PublisherReport report = reported();
    EXPECT_EQ(report.version(), 1U);
    EXPECT_EQ(report.state(), v1::DESIRED_STATE_WAIT);
    EXPECT_FALSE(report.transmitting());
    wait_for(PublisherState::waiting);
    EXPECT_EQ(publish({text("nothing is wanted")}), 0U);
    EXPECT_EQ(publisher->status().datagrams_unsent, 1U);
}

TEST_F(PublisherTest, TransmitsInOrderOnceTheDataServerAcceptedIt) {
    open();
    desire(v1::DESIRED_STATE_START, 2, &port);
    EXPECT_FALSE(reported().transmitting()) << "START is acknowledged before the join";
    wait_for(PublisherState::starting);
    EXPECT_EQ(publish({text("too early")}), 0U);
    port.accept_join();
    hear_transmitting();
    wait_for(PublisherState::transmitting);
    EXPECT_EQ(publisher->status().data_server, to_string(port.endpoint));
    std::vector<Bytes> payloads;
    payloads.reserve(150);
    for (int i = 0; i < 150; ++i) {  // more than one call's worth
        payloads.push_back(text("datagram " + std::to_string(i)));
    }
    EXPECT_EQ(publish(payloads), payloads.size());
    for (const Bytes& payload : payloads) {
        EXPECT_EQ(port.receive(), payload);
    }
    EXPECT_EQ(publisher->status().datagrams_sent, 150U);
}

TEST_F(PublisherTest, SendsNothingAfterItAcknowledgedStop) {
    open();
    transmit_at(port, 1);
    desire(v1::DESIRED_STATE_STOP, 2);
    const v1::PublisherReport report = reported();
    EXPECT_EQ(report.version(), 2U);
    EXPECT_EQ(report.state(), v1::DESIRED_STATE_STOP);
    EXPECT_FALSE(report.transmitting());
    EXPECT_EQ(publish({text("too late")}), 0U);
    wait_for(PublisherState::stopped);
    const auto leave = port.wait_for<LeaveMessage>(MessageType::leave);
    EXPECT_TRUE(tag_is_valid(leave, port.server.key));
    desire(v1::DESIRED_STATE_WAIT, 3);
    wait_for(PublisherState::waiting);
    transmit_at(port, 4);
    EXPECT_EQ(publish({text("again")}), 1U);
}

TEST_F(PublisherTest, ShowsEachChangeToWhoeverAsksInTurn) {
    open();
    desire(v1::DESIRED_STATE_WAIT, 1);
    reported();
    transmit_at(port, 2);
    desire(v1::DESIRED_STATE_STOP, 3);
    reported();
    desire(v1::DESIRED_STATE_WAIT, 4);
    reported();
    PublisherStatus status;
    for (const PublisherState state : {PublisherState::waiting,
                                       PublisherState::starting,
                                       PublisherState::transmitting,
                                       PublisherState::stopped,
                                       PublisherState::waiting}) {
        status = publisher->wait_change(status, kPatience);
        EXPECT_EQ(status.state, state);
    }
    EXPECT_EQ(publisher->wait_change(status, 0ms).version, 4U) << "nothing further";
}

TEST_F(PublisherTest, AnswersButDoesNotApplyWhatIsOld) {
    open();
    desire(v1::DESIRED_STATE_WAIT, 7);
    EXPECT_EQ(reported().version(), 7U);
    desire(v1::DESIRED_STATE_STOP, 7);
    EXPECT_EQ(reported().state(), v1::DESIRED_STATE_WAIT) << "the same version";
    desire(v1::DESIRED_STATE_STOP, 9, nullptr, 4);
    EXPECT_EQ(reported().state(), v1::DESIRED_STATE_WAIT) << "an older epoch";
    desire(v1::DESIRED_STATE_START, 8);
    EXPECT_EQ(reported().state(), v1::DESIRED_STATE_WAIT) << "START without a place";
    EXPECT_EQ(publisher->status().state, PublisherState::waiting);
}

TEST_F(PublisherTest, GoesOnTransmittingWhenPresenceRestarts) {
    open();
    transmit_at(port, 1);
    presence.publishers.cut();
    presence.publishers.wait_for_session(2);
    const v1::PublisherHello again = presence.publishers.hear().hello();
    EXPECT_TRUE(again.transmitting());
    EXPECT_EQ(again.publisher_id(), hello.publisher_id());
    EXPECT_EQ(publish({text("one")}), 1U) << "while presence knows nothing";
    desire(v1::DESIRED_STATE_START, 1, &port, 6);  // the new epoch finds it where it is
    EXPECT_TRUE(reported().transmitting());
    EXPECT_EQ(publish({text("two")}), 1U);
    EXPECT_EQ(port.receive(), text("one"));
    // Content and the proof that the flow stands, in whatever order; but no JOIN.
    const Bytes second = port.receive();
    const Bytes third = port.receive();
    EXPECT_TRUE(second == text("two") || third == text("two"));
    EXPECT_TRUE(message_type(second) == MessageType::keepalive ||
                message_type(third) == MessageType::keepalive);
}

TEST_F(PublisherTest, MovesToAnotherDataServer) {
    open();
    transmit_at(port, 1);
    DataPort other;
    transmit_at(other, 2);
    EXPECT_EQ(publish({text("here")}), 1U);
    EXPECT_EQ(other.receive(), text("here"));
    port.wait_for<LeaveMessage>(MessageType::leave);
}

TEST_F(PublisherTest, TransmitsToBothPlacesWhileItsStreamMoves) {
    open();
    transmit_at(port, 1);
    DataPort other;
    desire(v1::DESIRED_STATE_START, 2, &port, 5, &other);
    other.accept_join();
    const auto content_at = [](DataPort& at) {
        Bytes bytes = at.receive();
        while (message_type(bytes).has_value()) {
            bytes = at.receive();
        }
        return bytes;
    };
    // Until it has taken the acceptance it sends to the first place only.
    int sent = 0;
    Bytes arrived;
    do {
        ASSERT_EQ(publish({text(std::to_string(sent))}), 1U);
        EXPECT_EQ(content_at(port), text(std::to_string(sent)));
        ++sent;
        arrived = other.receive_now();
    } while (arrived.empty() && sent < 10'000);
    EXPECT_EQ(arrived, text(std::to_string(sent - 1)));

    desire(v1::DESIRED_STATE_START, 3, &other, 5, &port);
    presence.publishers.hear_until([](const v1::PublisherUp& up) {
        return up.report().version() == 3 && up.report().transmitting();
    });
    ASSERT_EQ(publish({text("to both")}), 1U);
    EXPECT_EQ(content_at(port), text("to both"));
    EXPECT_EQ(content_at(other), text("to both"));

    desire(v1::DESIRED_STATE_START, 4, &other);
    port.wait_for<LeaveMessage>(MessageType::leave);
    EXPECT_EQ(publisher->status().state, PublisherState::transmitting);
    ASSERT_EQ(publish({text("to the new one")}), 1U);
    EXPECT_EQ(content_at(other), text("to the new one"));
}

TEST_F(PublisherTest, TellsPresenceThatItsFlowWasEndedAndJoinsAnew) {
    open();
    transmit_at(port, 1);
    port.send(port.server.end(MessageType::ended, EndReason::shutdown));
    const v1::PublisherUp up = presence.publishers.hear_until(
        [](const v1::PublisherUp& each) { return !each.report().trouble().empty(); });
    EXPECT_FALSE(up.report().transmitting());
    wait_for(PublisherState::starting);
    port.accept_join();
    hear_transmitting();
}

TEST_F(PublisherTest, RefusesDatagramsThatAreTooLong) {
    open();
    transmit_at(port, 1);
    EXPECT_EQ(publish({text("fits"), Bytes(1473), text("after it")}), 1U);
    EXPECT_EQ(publisher->status().datagrams_unsent, 2U);
    EXPECT_EQ(publish({Bytes(1472), Bytes()}), 2U);
    EXPECT_EQ(port.receive(), text("fits"));
    EXPECT_EQ(port.receive(), Bytes(1472));
}

TEST_F(PublisherTest, EndsWhenPresenceRefusesItForGood) {
    open();
    v1::PublisherDown down;
    down.mutable_reject()->set_reason("protocol 1 is not spoken here");
    presence.publishers.say(down);
    wait_for(PublisherState::ended);
    EXPECT_NE(publisher->status().last_error.find("protocol 1"), std::string::npos);
}

TEST_F(PublisherTest, ComesBackWhenPresenceRefusesItForNow) {
    open();
    v1::PublisherDown down;
    down.mutable_reject()->set_reason("another publisher is there");
    down.mutable_reject()->set_retry_after_ms(1);
    presence.publishers.say(down);
    presence.publishers.wait_for_session(2);
    EXPECT_EQ(presence.publishers.hear().hello().publisher_id(), hello.publisher_id());
}

TEST_F(PublisherTest, GoesAtOnceToTheLeaderThatARefusalNames) {
    ScriptedPresence leader;
    open({}, {"127.0.0.1:1", leader.address()});
    v1::PublisherDown down;
    down.mutable_reject()->set_reason("this presence server does not lead");
    down.mutable_reject()->set_retry_after_ms(3'600'000);
    down.mutable_reject()->set_leader(leader.address());
    presence.publishers.say(down);
    EXPECT_EQ(leader.publishers.hear().hello().publisher_id(), hello.publisher_id());
}

TEST_F(PublisherTest, GoesNowhereThatItWasNotToldOf) {
    ScriptedPresence stranger;
    open();
    v1::PublisherDown down;
    down.mutable_reject()->set_reason("this presence server does not lead");
    down.mutable_reject()->set_retry_after_ms(1);
    down.mutable_reject()->set_leader(stranger.address());
    presence.publishers.say(down);
    EXPECT_EQ(presence.publishers.hear().hello().publisher_id(), hello.publisher_id());
}

TEST_F(PublisherTest, TriesTheNextAddressWhenOneDoesNotAnswer) {
    open({"127.0.0.1:1"});
    EXPECT_EQ(hello.stream(), "camera");
}

TEST_F(PublisherTest, LeavesOneThatIsSilentOutHoweverOftenItIsSaidToLead) {
    test::SilentListener silent;
    ASSERT_TRUE(silent.is_listening());
    open({silent.address()});
    EXPECT_GE(silent.connections(), 1);
    for (int times = 0; times < 2; ++times) {
        v1::PublisherDown down;
        down.mutable_reject()->set_reason("this presence server does not lead");
        down.mutable_reject()->set_retry_after_ms(1);
        down.mutable_reject()->set_leader(silent.address());
        presence.publishers.say(down);
        EXPECT_EQ(presence.publishers.hear().hello().stream(), "camera");
    }
    EXPECT_EQ(silent.connections(), 0);
}

TEST(PublisherOpenTest, RefusesWrongOptionsInOneLine) {
    const auto refused = [](const std::string& presence,
                            const std::string& stream,
                            const std::string& bind_address = "") {
        PublisherOptions options;
        options.presence = {presence};
        options.stream = stream;
        options.bind_address = bind_address;
        const auto opened = Publisher::open(options);
        return opened ? std::string("opened") : opened.error().message;
    };
    const std::string near = "127.0.0.1:7400";
    EXPECT_NE(refused(near, "").find("stream name"), std::string::npos);
    EXPECT_NE(refused(near, "a\nb").find("printable"), std::string::npos);
    EXPECT_NE(refused("7400", "x").find("HOST:PORT"), std::string::npos);
    EXPECT_NE(refused("10.0.0.1:7400", "x").find("--insecure"), std::string::npos);
    EXPECT_NE(refused(near, "x", "eth0").find("eth0"), std::string::npos);
    EXPECT_NE(refused(near, "x", "203.0.113.1").find("203.0.113.1"), std::string::npos);
}

class ConsumerTest : public testing::Test {
  protected:
    void open(std::chrono::milliseconds wait = 0ms) {
        ConsumerOptions options;
        options.presence = {presence.address()};
        options.stream = "camera";
        options.history = {.packets = 10, .duration = 0ms};
        options.wait = wait;
        auto opened = Consumer::open(options);
        ASSERT_TRUE(opened) << opened.error().message;
        consumer = std::move(opened.value());
        request = presence.consumers.hear().request();
    }
    void assign(v1::AssignmentState state, std::uint64_t version, const DataPort* at = nullptr) {
        v1::ConsumerDown down;
        v1::Assignment& assignment = *down.mutable_assignment();
        assignment.set_epoch(5);
        assignment.set_version(version);
        assignment.set_state(state);
        assignment.set_reason("as the test says");
        if (at != nullptr) {
            fill_place(assignment, *at);
        }
        presence.consumers.say(down);
    }
    /// Receives on a thread of its own while `act` plays the other side; gives what was received.
    template <typename Act>
    std::vector<Bytes> receive_while(Act act) {
        std::atomic<bool> done = false;
        std::vector<Bytes> received;
        std::thread thread([&] {
            std::array<Datagram, 64> datagrams;
            while (!done) {
                const auto count = consumer->receive(datagrams, 10ms);
                if (!count) {
                    error = count.error();
                    return;
                }
                for (std::size_t i = 0; i < *count; ++i) {
                    received.emplace_back(datagrams[i].payload.begin(), datagrams[i].payload.end());
                    stamp = datagrams[i].received_at;
                }
            }
        });
        act();
        done = true;
        thread.join();
        return received;
    }
    void wait_until(ConsumerState state) {
        const auto give_up_at = std::chrono::steady_clock::now() + kPatience;
        while (consumer->status().state != state && std::chrono::steady_clock::now() < give_up_at) {
            std::this_thread::yield();
        }
        EXPECT_EQ(consumer->status().state, state);
    }
    void wait_for_datagrams(std::uint64_t count) {
        const auto give_up_at = std::chrono::steady_clock::now() + kPatience;
        while (consumer->status().datagrams < count &&
               std::chrono::steady_clock::now() < give_up_at) {
            std::this_thread::yield();
        }
        EXPECT_EQ(consumer->status().datagrams, count);
    }
    JoinMessage join_at(DataPort& at) {
        const JoinMessage join = at.accept_join();
        wait_until(ConsumerState::receiving);
        return join;
    }

    ScriptedPresence presence;
    DataPort port;
    std::unique_ptr<Consumer> consumer;
    v1::ConsumerRequest request;
    std::optional<Error> error;
    std::chrono::nanoseconds stamp{0};
};

TEST(LonelyConsumer, EndsWhenNoPresenceHasAnsweredAndSaysWhenToAskAgain) {
    ConsumerOptions options;
    options.presence = {"127.0.0.1:1"};
    options.stream = "camera";
    const auto consumer = Consumer::open(options);
    ASSERT_TRUE(consumer.ok());
    std::array<Datagram, 1> datagrams;
    const auto opened_at = std::chrono::steady_clock::now();
    const auto received = (*consumer)->receive(datagrams, 60s);
    ASSERT_FALSE(received.ok());
    EXPECT_EQ(received.error().code, ErrorCode::unavailable);
    EXPECT_THAT(received.error().message, HasSubstr("no presence server has answered ("));
    EXPECT_THAT(received.error().message, HasSubstr("; ask again in 5s"));
    EXPECT_GE(std::chrono::steady_clock::now() - opened_at, 5s);
    EXPECT_EQ((*consumer)->status().state, ConsumerState::ended);
}

TEST_F(ConsumerTest, EndsWhenItIsRefusedAllTheTimeAndSaysWhyAndWhenToAskAgain) {
    open();
    v1::ConsumerDown down;
    down.mutable_reject()->set_reason("the stream camera has 2 consumers already");
    down.mutable_reject()->set_retry_after_ms(60'000);
    presence.consumers.say(down);
    std::array<Datagram, 1> datagrams;
    const auto received = consumer->receive(datagrams, 60s);
    ASSERT_FALSE(received.ok());
    EXPECT_EQ(received.error().code, ErrorCode::unavailable);
    EXPECT_EQ(received.error().message,
              "no presence server has taken the request (presence " + presence.address() +
                  ": it refused us: the stream camera has 2 consumers already; trying again): ask "
                  "again in 1m");
}

TEST_F(ConsumerTest, ReceivesFromWherePresenceSentIt) {
    open(1500ms);
    EXPECT_EQ(request.protocol(), 1U);
    EXPECT_NE(request.consumer_id(), 0U);
    EXPECT_EQ(request.stream(), "camera");
    EXPECT_NEAR(static_cast<double>(request.wait_ms()), 1500, 1);
    const auto received = receive_while([&] {
        assign(v1::ASSIGNMENT_STATE_WAIT, 1);
        wait_until(ConsumerState::waiting);
        assign(v1::ASSIGNMENT_STATE_READY, 2, &port);
        const JoinMessage join = join_at(port);
        EXPECT_EQ(join.history_packets, 10U);
        EXPECT_EQ(consumer->status().data_server, to_string(port.endpoint));
        port.send(text("one"));
        port.send(text("two"));
        wait_for_datagrams(2);
    });
    EXPECT_EQ(received, (std::vector<Bytes>{text("one"), text("two")}));
    EXPECT_EQ(consumer->status().bytes, 6U);
    EXPECT_GT(stamp.count(), 0) << "stamped by the kernel";
}

TEST_F(ConsumerTest, WaitsForEverIfToldTo) {
    open(std::chrono::milliseconds::max());
    EXPECT_EQ(request.wait_ms(), std::numeric_limits<std::uint64_t>::max());
}

TEST_F(ConsumerTest, CountsStrangersAndDoesNotHandThemOn) {
    open();
    DataPort stranger;
    const auto received = receive_while([&] {
        assign(v1::ASSIGNMENT_STATE_READY, 1, &port);
        join_at(port);
        stranger.client = port.client;
        stranger.send(text("not from the data server"));
        port.send(text("content"));
        wait_for_datagrams(1);
    });
    EXPECT_EQ(received, std::vector<Bytes>{text("content")});
    EXPECT_EQ(consumer->status().strangers, 1U);
}

TEST_F(ConsumerTest, EndsWhenTheStreamDoesNotCome) {
    open();
    receive_while([&] {
        assign(v1::ASSIGNMENT_STATE_GONE, 1);
        wait_until(ConsumerState::ended);
    });
    std::array<Datagram, 1> datagrams;
    const auto received = consumer->receive(datagrams, 0ms);
    ASSERT_FALSE(received);
    EXPECT_EQ(received.error().code, ErrorCode::not_found);
    EXPECT_NE(received.error().message.find("camera"), std::string::npos);
}

TEST_F(ConsumerTest, AsksPresenceAgainWhenItsFlowEnds) {
    open();
    receive_while([&] {
        assign(v1::ASSIGNMENT_STATE_READY, 3, &port);
        join_at(port);
        port.send(port.server.end(MessageType::moved, EndReason::stream_closed));
        EXPECT_EQ(presence.consumers.hear().renew().version(), 3U);
        DataPort other;
        assign(v1::ASSIGNMENT_STATE_READY, 4, &other);
        join_at(other);
    });
}

TEST_F(ConsumerTest, AsksPresenceAgainWhenTheDataServerFallsSilent) {
    open();
    receive_while([&] {
        assign(v1::ASSIGNMENT_STATE_READY, 3, &port);
        join_at(port);
        EXPECT_EQ(presence.consumers.hear().renew().version(), 3U);
        EXPECT_EQ(consumer->status().state, ConsumerState::receiving) << "and stays where it is";
    });
}

TEST_F(ConsumerTest, ReceivesFromTheOldPlaceUntilTheNewOneAccepts) {
    open();
    DataPort other;
    const auto received = receive_while([&] {
        assign(v1::ASSIGNMENT_STATE_READY, 1, &port);
        join_at(port);
        assign(v1::ASSIGNMENT_STATE_READY, 2, &other);
        const auto join = other.wait_for<JoinMessage>(MessageType::join);
        EXPECT_EQ(join.history_packets, 0U) << "it goes on, it does not begin again";
        port.send(text("old place"));
        wait_for_datagrams(1);
        other.send(ScriptedDataServer::challenge(join, 99));
        join_at(other);
        port.wait_for<LeaveMessage>(MessageType::leave);
        other.send(text("new place"));
        wait_for_datagrams(2);
    });
    EXPECT_EQ(received, (std::vector<Bytes>{text("old place"), text("new place")}));
}

TEST_F(ConsumerTest, HandsEachDatagramOnOnceWhenItMoves) {
    open();
    DataPort other;
    std::vector<Bytes> sent;
    const auto received = receive_while([&] {
        assign(v1::ASSIGNMENT_STATE_READY, 1, &port);
        join_at(port);
        assign(v1::ASSIGNMENT_STATE_READY, 2, &other);
        const auto join = other.wait_for<JoinMessage>(MessageType::join);
        other.send(ScriptedDataServer::challenge(join, 99));
        join_at(other);
        for (int i = 0; i < 40; ++i) {  // a third of them repeats
            sent.push_back(text(i % 3 == 0 ? "null" : std::to_string(i)));
            port.send(sent.back());
            if (i >= 10) {
                other.send(sent.back());
            }
        }
        port.wait_for<LeaveMessage>(MessageType::leave);
        sent.push_back(text("only at the new place"));
        other.send(sent.back());
        wait_for_datagrams(41);
    });
    EXPECT_EQ(received, sent);
}

TEST_F(ConsumerTest, GoesBackToThePlaceItIsLeaving) {
    open();
    DataPort other;
    const auto received = receive_while([&] {
        assign(v1::ASSIGNMENT_STATE_READY, 1, &port);
        join_at(port);
        assign(v1::ASSIGNMENT_STATE_READY, 2, &other);
        other.wait_for<JoinMessage>(MessageType::join);
        assign(v1::ASSIGNMENT_STATE_READY, 3, &port);
        port.wait_for<KeepaliveMessage>(MessageType::keepalive);
        port.send(text("where it was"));
        wait_for_datagrams(1);
    });
    EXPECT_EQ(received, std::vector<Bytes>{text("where it was")});
}

TEST_F(ConsumerTest, WantsNoHistoryWhenItTriesOnceMoreToMove) {
    open();
    DataPort other;
    receive_while([&] {
        assign(v1::ASSIGNMENT_STATE_READY, 1, &port);
        join_at(port);
        assign(v1::ASSIGNMENT_STATE_READY, 2, &other);
        auto join = other.wait_for<JoinMessage>(MessageType::join);
        EXPECT_EQ(presence.consumers.hear().renew().version(), 2U) << "nobody answers the JOIN";
        assign(v1::ASSIGNMENT_STATE_READY, 3, &other);
        const std::uint64_t first_nonce = join.client_nonce;
        while (join.client_nonce == first_nonce && !HasFailure()) {
            join = other.wait_for<JoinMessage>(MessageType::join);
        }
        EXPECT_EQ(join.history_packets, 0U);
    });
}

TEST_F(ConsumerTest, StaysWhereItsFlowStandsWhenToldToWaitWhileItMoves) {
    open();
    DataPort other;
    const auto received = receive_while([&] {
        assign(v1::ASSIGNMENT_STATE_READY, 1, &port);
        join_at(port);
        assign(v1::ASSIGNMENT_STATE_READY, 2, &other);
        other.wait_for<JoinMessage>(MessageType::join);
        assign(v1::ASSIGNMENT_STATE_WAIT, 3);
        EXPECT_EQ(message_type(port.receive()), MessageType::keepalive) << "no LEAVE";
        wait_until(ConsumerState::receiving);
        EXPECT_EQ(consumer->status().data_server, to_string(port.endpoint));
        port.send(text("where it was"));
        wait_for_datagrams(1);
    });
    EXPECT_EQ(received, std::vector<Bytes>{text("where it was")});
}

TEST_F(ConsumerTest, KeepsItsFlowWhenPresenceRestarts) {
    open();
    const auto received = receive_while([&] {
        assign(v1::ASSIGNMENT_STATE_READY, 1, &port);
        join_at(port);
        presence.consumers.cut();
        presence.consumers.wait_for_session(2);
        const v1::ConsumerRequest again = presence.consumers.hear().request();
        EXPECT_EQ(again.consumer_id(), request.consumer_id());
        EXPECT_GE(again.wait_ms(), 10'000U) << "a presence that has just started may not know yet";
        assign(v1::ASSIGNMENT_STATE_READY, 2, &port);
        port.wait_for<KeepaliveMessage>(MessageType::keepalive);
        port.send(text("still here"));
        wait_for_datagrams(1);
    });
    EXPECT_EQ(received, std::vector<Bytes>{text("still here")});
}

TEST_F(ConsumerTest, LeavesItsFlowBehindInOrder) {
    open();
    receive_while([&] {
        assign(v1::ASSIGNMENT_STATE_READY, 1, &port);
        join_at(port);
    });
    consumer->leave();
    const auto leave = port.wait_for<LeaveMessage>(MessageType::leave);
    EXPECT_EQ(leave.flow_id, port.server.flow_id);
    EXPECT_EQ(consumer->status().state, ConsumerState::ended);
}

TEST_F(ConsumerTest, CountsWhatTheKernelDropped) {
    open();
    std::array<Datagram, 64> datagrams;
    receive_while([&] {
        assign(v1::ASSIGNMENT_STATE_READY, 1, &port);
        join_at(port);
    });
    for (int i = 0; i < 20'000; ++i) {  // more than any receive buffer of 4 MiB holds
        port.send(Bytes(1400));
    }
    std::uint64_t received = 0;
    while (received + consumer->status().socket_overflows < 20'000) {
        const auto count = consumer->receive(datagrams, 100ms);
        ASSERT_TRUE(count);
        if (*count == 0) {
            port.send(Bytes(1));  // the count travels with the next datagram
            ++received;
            continue;
        }
        received += *count;
        if (received > 21'000) {
            break;
        }
    }
    EXPECT_GT(consumer->status().socket_overflows, 0U);
}

}  // namespace
}  // namespace penstock
