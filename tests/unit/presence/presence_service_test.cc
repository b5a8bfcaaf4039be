#include "presence/presence_service.h"

#include "unit/presence/service_world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>

namespace penstock::presence {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::HasSubstr;

/// Keeps nothing.
class FailingStore final : public Store {
  public:
    Result<void> write(const Durable&) override {
        const std::lock_guard lock(mutex_);
        ++writes_;
        changed_.notify_all();
        return Error{ErrorCode::system, "cannot write facts: the disk is full"};
    }
    bool wait_for(int writes) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, kPatience, [&] { return writes_ >= writes; });
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    int writes_ = 0;
};

TEST(PresenceService, MakesTheNameOfADataServerDurable) {
    const auto service = start_service();
    const DataServerPeer server(channel_to(*service));
    EXPECT_TRUE(shared_store().wait_for(
        [](const Durable& facts) { return facts.servers.contains("ds1"); }));
}

TEST(PresenceService, LogsOnceWhyItsStoreFailsHoweverOftenItTries) {
    FailingStore store;
    EXPECT_TRUE(initialise_cryptography());
    testing::internal::CaptureStderr();
    {
        const auto service = PresenceService::start(
            {IpAddress::v4(0x7f000001U), 0}, {}, fresh_state(), store, open_gate());
        ASSERT_TRUE(service.ok());
        const DataServerPeer server(channel_to(**service));
        EXPECT_TRUE(store.wait_for(3));
    }
    const std::string said = testing::internal::GetCapturedStderr();
    const std::size_t first = said.find("the disk is full");
    ASSERT_NE(first, std::string::npos);
    EXPECT_EQ(said.find("the disk is full", first + 1), std::string::npos) << said;
}

TEST(PresenceService, CarriesAStreamThroughItsLife) {
    const auto service = start_service();
    const auto channel = channel_to(*service);
    const auto operators = v1::Operators::NewStub(channel);
    DataServerPeer data_server(channel);
    PublisherPeer publisher(channel);
    ASSERT_TRUE(publisher.is_told(v1::DESIRED_STATE_WAIT));

    ConsumerPeer consumer(channel);
    ASSERT_TRUE(publisher.is_told(v1::DESIRED_STATE_START));
    EXPECT_EQ(publisher.newest().data_server(), "ds1");
    EXPECT_EQ(publisher.newest().endpoint().port(), 20'000);
    EXPECT_EQ(publisher.newest().ticket().size(), sizeof(Ticket));
    EXPECT_EQ(publisher.newest().session_key().size(), sizeof(SessionKey));
    ASSERT_TRUE(consumer.is_told(v1::ASSIGNMENT_STATE_READY));
    EXPECT_EQ(consumer.newest().endpoint().port(), 20'000);
    EXPECT_EQ(consumer.newest().ticket().size(), sizeof(Ticket));

    data_server.report_consumers({2});
    EXPECT_THAT(events_until(*operators, "consumer_joined"), Contains("start_sent"));
    consumer.hang_up();
    data_server.report_consumers({});
    EXPECT_TRUE(publisher.is_told(v1::DESIRED_STATE_STOP));
    EXPECT_TRUE(publisher.is_told(v1::DESIRED_STATE_WAIT));

    grpc::ClientContext context;
    set_patience(context);
    v1::StatusReply status;
    ASSERT_TRUE(operators->Status(&context, {}, &status).ok());
    EXPECT_EQ(status.servers(), 1);
    EXPECT_EQ(status.publishers(), 1);
    EXPECT_GT(status.bytes_received(), 0);
    EXPECT_GT(status.bytes_sent(), 0);
}

TEST(PresenceService, TellsAConsumerThatWillNotWaitAndEndsItsSession) {
    const auto service = start_service();
    ConsumerPeer consumer(channel_to(*service), "nothing", 0);
    EXPECT_TRUE(consumer.is_told(v1::ASSIGNMENT_STATE_GONE));
    EXPECT_EQ(consumer.newest().reason(), "nothing: no publisher offers the stream");
    EXPECT_TRUE(consumer.wait_for_end().ok());
}

TEST(PresenceService, LetsOnlyRefusalsOutOnceTheTimeToLeadIsOver) {
    EXPECT_TRUE(initialise_cryptography());
    CommandGate gate;
    const auto service = PresenceService::start(
        {IpAddress::v4(0x7f000001U), 0}, {}, fresh_state(), shared_store(), gate);
    ASSERT_TRUE(service.ok());
    const auto channel = channel_to(**service);
    ConsumerPeer late(channel, "nobody's", 0);
    EXPECT_FALSE(late.is_told(v1::ASSIGNMENT_STATE_GONE));
    ConsumerPeer refused(channel, "");
    EXPECT_TRUE(refused.wait_for_end().ok());
    EXPECT_NE(refused.reject().reason(), "");
    gate.open_until(BootClock::now() + 1h);
    ConsumerPeer in_time(channel, "nobody's", 0);
    EXPECT_TRUE(in_time.is_told(v1::ASSIGNMENT_STATE_GONE));
}

TEST(PresenceService, TurnsPeersAndOperatorsAwayWhileItFollows) {
    const auto service = start_service();
    service->take(LeadershipLost{"10.0.0.2:7400"});
    ConsumerPeer consumer(channel_to(*service));
    EXPECT_TRUE(consumer.wait_for_end().ok());
    EXPECT_EQ(consumer.reject().leader(), "10.0.0.2:7400");
    const auto operators = v1::Operators::NewStub(channel_to(*service));
    grpc::ClientContext context;
    set_patience(context);
    v1::StatusReply reply;
    const grpc::Status status = operators->Status(&context, v1::StatusRequest(), &reply);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_EQ(status.error_details(), "10.0.0.2:7400");
    Durable facts;
    facts.epoch = 77;
    service->take(LeadershipWon{facts});
    grpc::ClientContext again;
    set_patience(again);
    EXPECT_TRUE(operators->Status(&again, v1::StatusRequest(), &reply).ok());
    EXPECT_EQ(reply.epoch(), 77);
}

TEST(PresenceService, RejectsWhatBreaksALimitWithTheReason) {
    const auto service = start_service();
    ConsumerPeer consumer(channel_to(*service),
                          "a\x01"
                          "b");
    EXPECT_TRUE(consumer.wait_for_end().ok());
    EXPECT_EQ(consumer.reject().reason(),
              "the name of a stream must have 1 to 255 bytes of printable ASCII");
}

TEST(PresenceService, BreaksOffASessionThatSendsTooLongAMessage) {
    const auto service = start_service();
    ConsumerPeer consumer(channel_to(*service), std::string(control::kMessageBytesMax + 1, 'a'));
    EXPECT_FALSE(consumer.wait_for_end().ok());
}

TEST(PresenceService, RefusesAPortThatIsBusy) {
    const auto service = start_service();
    const auto second = PresenceService::start(
        service->listening(), {}, fresh_state(), shared_store(), open_gate());
    ASSERT_FALSE(second.ok());
    EXPECT_THAT(second.error().message, HasSubstr("Address already in use"));
    EXPECT_THAT(second.error().message, HasSubstr("choose another --listen"));
}

TEST(PresenceService, EndsEverySessionWhenItEnds) {
    auto service = start_service();
    const auto channel = channel_to(*service);
    ConsumerPeer consumer(channel);
    ASSERT_TRUE(consumer.is_told(v1::ASSIGNMENT_STATE_WAIT));
    const auto operators = v1::Operators::NewStub(channel);
    grpc::ClientContext context;
    set_patience(context);
    v1::EventsRequest request;
    request.set_follow(true);
    const auto reader = operators->Events(&context, request);
    v1::Event event;
    ASSERT_TRUE(reader->Read(&event));
    service.reset();
    EXPECT_FALSE(consumer.wait_for_end().ok());
    EXPECT_FALSE(reader->Finish().ok());
}

}  // namespace
}  // namespace penstock::presence
