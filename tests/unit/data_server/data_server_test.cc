#include "data_server/data_server.h"

#include "unit/data_server/mailbox_workers.h"

#include <gtest/gtest.h>

#include <string>
#include <variant>
#include <vector>

namespace penstock {
namespace {

const StreamId kStream{11};
const PeerId kPublisher{501};
const IpAddress kAddress = IpAddress::v4(0x0a5b0001);

/// The control thread's mind between a presence, two workers and clients that the test plays.
class DataServerTest : public testing::Test, protected MailboxWorkers {
  protected:
    DataServerTest() { fill_random(ticket_key.bytes); }

    static StreamTableConfig table_config() {
        StreamTableConfig config;
        config.ring_packets = 64;
        config.ring_bytes = 64 << 10U;
        config.ports = {{MacAddress{{2, 0, 0, 0, 0, 1}}, kAddress}};
        return config;
    }
    static JoinConfig join_config() {
        JoinConfig config;
        config.data_addresses = {{kAddress, 24}};
        return config;
    }
    DataServerOutputs outputs() {
        return {.send_frame =
                    [this](const SessionReply& reply, std::uint8_t worker) {
                        if (frames.size() >= frames_max) {
                            return false;
                        }
                        frames.push_back(reply);
                        by_worker.push_back(worker);
                        return true;
                    },
                .send_up = [this](UpMessage message) { up.push_back(std::move(message)); },
                .send_load = [this](const LoadReport& report) { loads.push_back(report); },
                .set_position =
                    [this](std::uint64_t epoch, std::uint64_t generation) {
                        position = {epoch, generation};
                    },
                .drop_presence = [this](const std::string& reason) { dropped = reason; },
                .measure = [] { return LoadSnapshot{}; }};
    }

    void attach(std::uint64_t epoch = 5) {
        server.on_presence(Welcome{"127.0.0.1:7400", epoch, 1, ticket_key}, now_ms);
    }
    void open_stream(std::uint64_t generation = 1) {
        StreamSet set;
        set.epoch = 5;
        set.generation = generation;
        set.open.push_back({kStream, "cam", kPublisher, 0});
        server.on_presence(set, now_ms);
        pass(5);
    }
    /// Lets time pass, ms by ms, with workers that apply what they are told.
    void pass(std::uint64_t ms) {
        for (std::uint64_t i = 0; i < ms; ++i) {
            ++now_ms;
            server.on_tick(now_ms);
            apply(0);
            apply(1);
        }
    }

    JoinMessage join(const Ticket& ticket, const Cookie& cookie) {
        JoinMessage message{};
        message.header = make_header<JoinMessage>(MessageType::join);
        message.ticket = ticket;
        message.cookie = cookie;
        seal(message, derive_session_key(ticket_key, ticket.nonce));
        return message;
    }
    template <typename Message>
    void send(const Message& message, const Endpoint& from) {
        server.on_session_frame(
            {0, MacAddress{{2, 0, 0, 0, 0, 9}}, from, {kAddress, 20'000}, bytes_of(message)},
            now_ms);
    }
    void join_as(TicketRole role, PeerId peer, std::uint16_t port) {
        Ticket ticket{};
        ticket.role = static_cast<std::uint8_t>(role);
        ticket.key_id = 1;
        ticket.stream_id = kStream.value;
        ticket.peer_id = peer.value;
        ticket.not_after_ms = now_ms + 60'000;
        ticket.nonce = random_u64();
        seal_ticket(ticket, ticket_key);
        const Endpoint from{IpAddress::v4(0x0a5b0064), port};
        frames.clear();
        send(join(ticket, {}), from);
        ASSERT_EQ(frames.size(), 1U);
        const auto challenge = read_message<ChallengeMessage>(frames[0].payload());
        send(join(ticket, challenge.cookie), from);
    }

    template <typename Message>
    std::vector<Message> sent_up() {
        std::vector<Message> found;
        for (const UpMessage& message : up) {
            if (const auto* wanted = std::get_if<Message>(&message)) {
                found.push_back(*wanted);
            }
        }
        return found;
    }

    TicketKey ticket_key;
    std::uint64_t now_ms = 1'000'000;
    std::vector<SessionReply> frames;
    std::vector<std::uint8_t> by_worker;
    std::size_t frames_max = 1'000'000;
    std::vector<UpMessage> up;
    std::vector<LoadReport> loads;
    std::pair<std::uint64_t, std::uint64_t> position;
    std::string dropped;
    StreamMemory memory{1 << 20U, 1, -1};
    StreamTable streams{table_config(), memory, workers};
    DataServer server{join_config(), SessionKey{{1}}, LoadLimits{}, streams, outputs()};
};

TEST_F(DataServerTest, SaysThatAllIsReportedAfterTheWelcome) {
    attach();
    EXPECT_TRUE(server.is_attached());
    EXPECT_EQ(sent_up<ReportsDone>().size(), 1U);
    EXPECT_EQ(position.first, 5U);
}

TEST_F(DataServerTest, AnswersASetWhenTheWorkersHaveAppliedIt) {
    attach();
    StreamSet set;
    set.epoch = 5;
    set.generation = 1;
    set.open.push_back({kStream, "cam", kPublisher, 0});
    server.on_presence(set, now_ms);
    server.on_tick(++now_ms);
    EXPECT_TRUE(sent_up<Applied>().empty());
    pass(5);
    const auto applied = sent_up<Applied>();
    ASSERT_EQ(applied.size(), 1U);
    ASSERT_EQ(applied[0].opened.size(), 1U);
    EXPECT_EQ(applied[0].opened[0].endpoint, (Endpoint{kAddress, 20'000}));
    EXPECT_EQ(position, (std::pair<std::uint64_t, std::uint64_t>{5, 1}));
}

TEST_F(DataServerTest, RefusesAStreamWithItsReason) {
    attach();
    StreamSet set;
    set.epoch = 5;
    set.generation = 1;
    for (std::uint64_t i = 0; i < 1'025; ++i) {
        set.open.push_back({StreamId{i + 1}, "s", PeerId{}, 0});
    }
    server.on_presence(set, now_ms);
    pass(10);
    const auto applied = sent_up<Applied>();
    ASSERT_EQ(applied.size(), 1U);
    EXPECT_EQ(applied[0].opened.size(), 1'024U);
    ASSERT_EQ(applied[0].refused.size(), 1U);
    EXPECT_NE(applied[0].refused[0].reason.find("--streams-max"), std::string::npos);
}

TEST_F(DataServerTest, ReportsWhoJoinedWithin20Ms) {
    attach();
    open_stream();
    join_as(TicketRole::publish, kPublisher, 40'000);
    join_as(TicketRole::consume, PeerId{1}, 40'001);
    up.clear();
    pass(20);
    const auto reports = sent_up<StreamReport>();
    ASSERT_EQ(reports.size(), 1U);
    EXPECT_EQ(reports[0].publisher, kPublisher);
    EXPECT_EQ(reports[0].publisher_address.port, 40'000);
    ASSERT_EQ(reports[0].consumers.size(), 1U);
    EXPECT_EQ(reports[0].consumers[0].consumer, PeerId{1});
    EXPECT_EQ(reports[0].endpoint, (Endpoint{kAddress, 20'000}));
}

TEST_F(DataServerTest, ReportsALargeStreamInPieces) {
    attach();
    open_stream();
    for (std::uint16_t i = 0; i < control::kFlowsMax + 10; ++i) {
        now_ms += 2;  // one address may send a thousand JOINs a second
        join_as(TicketRole::consume, PeerId{i + 1U}, static_cast<std::uint16_t>(10'000 + i));
        apply(0);
        streams.advance();
    }
    up.clear();
    attach();
    const auto reports = sent_up<StreamReport>();
    ASSERT_EQ(reports.size(), 2U);
    EXPECT_FALSE(reports[0].continued);
    EXPECT_EQ(reports[0].consumers.size(), control::kFlowsMax);
    EXPECT_TRUE(reports[1].continued);
    EXPECT_EQ(reports[1].consumers.size(), 10U);
}

TEST_F(DataServerTest, ReportsLoadTenTimesASecondWhileAttached) {
    pass(1'000);
    EXPECT_TRUE(loads.empty());
    attach();
    open_stream();
    loads.clear();
    pass(1'000);
    EXPECT_EQ(loads.size(), 10U);
    EXPECT_GT(loads[1].sequence, loads[0].sequence);
    EXPECT_LE(now_ms - loads.back().monotonic_ms, 100U);
}

TEST_F(DataServerTest, ReportsLoadAtOnceWhenItIsWelcome) {
    pass(350);
    attach();
    pass(1);
    EXPECT_EQ(loads.size(), 1U);
}

TEST_F(DataServerTest, EndsASessionWhoseFlowFindsNoRoom) {
    attach();
    open_stream();
    for (std::size_t i = 0; i < WorkerCommands::kWaitingMax + kMailboxCommands; ++i) {
        workers[0].send(SetPublisher{});
    }
    join_as(TicketRole::consume, PeerId{1}, 40'001);
    EXPECT_EQ(server.session_counters()[SessionEvent::not_installed], 1U);
    ASSERT_EQ(frames.size(), 3U);  // CHALLENGE, ACCEPT and the end of it
    const auto accept = read_message<AcceptMessage>(frames[1].payload());
    EXPECT_EQ(read_message<EndedMessage>(frames[2].payload()).flow_id, accept.flow_id);
    EXPECT_EQ(streams.counters_of(kStream, FlowId{accept.flow_id}), nullptr);
}

TEST_F(DataServerTest, DropsAPresenceWhoseCommandsPileUp) {
    attach();
    for (std::uint64_t generation = 1; generation <= 1'100; ++generation) {
        StreamSet set;
        set.epoch = 5;
        set.generation = generation;
        set.open.push_back({StreamId{generation % 2 + 1}, "s", PeerId{}, 0});
        server.on_presence(set, now_ms);  // the workers apply nothing
    }
    EXPECT_NE(dropped.find("faster"), std::string::npos);
}

TEST_F(DataServerTest, TellsANewPresenceTheLoadOfStreamsThatStandStill) {
    attach();
    open_stream();
    pass(300);
    EXPECT_TRUE(loads.back().streams.empty());
    attach(6);
    pass(100);
    EXPECT_EQ(loads.back().streams.size(), 1U);
}

TEST_F(DataServerTest, RelaysOnWithoutPresence) {
    attach();
    open_stream();
    join_as(TicketRole::consume, PeerId{1}, 40'001);
    server.on_presence(Detached{"gone"}, now_ms);
    EXPECT_FALSE(server.is_attached());
    pass(1'000);
    EXPECT_TRUE(streams.find(kStream).has_value());
    join_as(TicketRole::consume, PeerId{2}, 40'002);
    EXPECT_EQ(server.session_counters()[SessionEvent::accepted], 2U);
}

TEST_F(DataServerTest, ObeysNoPresenceOfAnOlderEpoch) {
    attach(5);
    attach(4);
    EXPECT_NE(dropped.find("epoch 4"), std::string::npos);
    EXPECT_EQ(position.first, 5U);
}

TEST_F(DataServerTest, ClosedStreamTellsItsClientsAndOpensNoMore) {
    attach();
    open_stream();
    join_as(TicketRole::consume, PeerId{1}, 40'001);
    frames.clear();
    StreamSet set;
    set.epoch = 5;
    set.generation = 2;
    server.on_presence(set, now_ms);
    ASSERT_EQ(frames.size(), 1U);
    EXPECT_EQ(read_message<EndedMessage>(frames[0].payload()).reason,
              static_cast<std::uint32_t>(EndReason::stream_closed));
    pass(5);
    EXPECT_EQ(sent_up<Applied>().back().generation, 2U);
    EXPECT_EQ(memory.ring_packets_left(), 1U << 20U);
}

TEST_F(DataServerTest, FramesThatFindNoRoomLeaveLaterInOrder) {
    attach();
    open_stream();
    for (std::uint16_t i = 0; i < 5; ++i) {
        join_as(TicketRole::consume, PeerId{i + 1U}, static_cast<std::uint16_t>(40'000 + i));
    }
    frames.clear();
    frames_max = 2;
    server.shut_down(now_ms);
    EXPECT_EQ(server.waiting_frames(), 3U);
    frames_max = 100;
    pass(1);
    EXPECT_EQ(server.waiting_frames(), 0U);
    ASSERT_EQ(frames.size(), 5U);
    for (std::uint16_t i = 0; i < 5; ++i) {
        EXPECT_EQ(frames[i].destination.port, 40'000 + i);
    }
}

TEST_F(DataServerTest, SpeaksByTheWorkerThatOwnsTheStream) {
    attach();
    StreamSet set;
    set.epoch = 5;
    set.generation = 1;
    set.open.push_back({StreamId{1}, "first", PeerId{}, 0});
    set.open.push_back({kStream, "cam", PeerId{}, 0});
    server.on_presence(set, now_ms);
    pass(5);
    Ticket ticket{};
    ticket.role = static_cast<std::uint8_t>(TicketRole::consume);
    ticket.key_id = 1;
    ticket.stream_id = kStream.value;
    ticket.not_after_ms = now_ms + 1;
    seal_ticket(ticket, ticket_key);
    const JoinMessage message = join(ticket, {});
    server.on_session_frame(
        {0, {}, {IpAddress::v4(0x0a5b0064), 1}, {kAddress, 20'001}, bytes_of(message)}, now_ms);
    ASSERT_EQ(by_worker.size(), 1U);
    EXPECT_EQ(by_worker[0], streams.owner_of(kStream));
    EXPECT_EQ(by_worker[0], 1);
}

TEST_F(DataServerTest, SilentConsumerGoesWhenItsLeaseIsOver) {
    attach();
    open_stream();
    join_as(TicketRole::consume, PeerId{1}, 40'001);
    pass(14'999);
    EXPECT_EQ(server.session_counters()[SessionEvent::lease_over], 0U);
    up.clear();
    pass(25);
    EXPECT_EQ(server.session_counters()[SessionEvent::lease_over], 1U);
    ASSERT_FALSE(sent_up<StreamReport>().empty());
    EXPECT_TRUE(sent_up<StreamReport>().back().consumers.empty());
}

}  // namespace
}  // namespace penstock
