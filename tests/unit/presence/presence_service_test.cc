#include "presence/presence_service.h"

#include "base/clock.h"
#include "base/protocol.h"
#include "presence.grpc.pb.h"
#include "presence/core_thread.h"
#include "presence/recover.h"
#include "rpc/messages.h"
#include "wire/ticket.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace penstock::presence {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::HasSubstr;

constexpr auto kPatience = 20s;  // of every call: a test that waits longer has failed

State fresh_state() {
    Durable facts;
    facts.epoch = 1;
    fill_random(facts.master_key.bytes);
    State state;
    state.random = random_u64;
    lead(state, std::move(facts), monotonic_now() - 1h);  // long settled
    return state;
}

/// Keeps what is written last.
class MemoryStore final : public Store {
  public:
    Result<void> write(const Durable& durable) override {
        const std::lock_guard lock(mutex_);
        newest_ = durable;
        changed_.notify_all();
        return {};
    }
    /// Blocks until facts are kept that `wanted` is true of.
    template <typename Wanted>
    bool wait_for(Wanted wanted) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, kPatience, [&] { return wanted(newest_); });
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    Durable newest_;
};

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

MemoryStore& shared_store() {
    static MemoryStore store;
    return store;
}

const CommandGate& open_gate() {
    static CommandGate gate;
    gate.open_until(BootTime::max());
    return gate;
}

std::unique_ptr<PresenceService> start_service(std::uint16_t port = 0) {
    EXPECT_TRUE(initialise_cryptography());
    auto service = PresenceService::start(
        {IpAddress::v4(0x7f000001U), port}, {}, fresh_state(), shared_store(), open_gate());
    EXPECT_TRUE(service.ok());
    return std::move(service).value();
}

std::shared_ptr<grpc::Channel> channel_to(const PresenceService& service) {
    return grpc::CreateChannel(to_string(service.listening()), grpc::InsecureChannelCredentials());
}

void set_patience(grpc::ClientContext& context) {
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
}

v1::Endpoint endpoint_of(std::uint32_t port) {
    v1::Endpoint endpoint;
    endpoint.set_ip(std::string("\x0a\x5b\x00\x01", 4));
    endpoint.set_port(port);
    return endpoint;
}

/// Attaches, opens whatever it is told to, and reports its load.
class DataServerPeer {
  public:
    explicit DataServerPeer(const std::shared_ptr<grpc::Channel>& channel)
        : stub_(v1::DataServers::NewStub(channel)) {
        set_patience(context_);
        call_ = stub_->Session(&context_);
        v1::DataServerUp hello;
        hello.mutable_hello()->set_protocol(kProtocols.newest);
        hello.mutable_hello()->set_name("ds1");
        hello.mutable_hello()->set_boot_id(77);
        hello.mutable_hello()->set_streams_max(10);
        hello.mutable_hello()->set_consumers_max(10);
        write(hello);
        v1::DataServerUp done;
        done.mutable_reports_done();
        write(done);
        reader_ = std::thread([this] { read(); });
        reporter_ = std::thread([this] { report_load(); });
    }
    ~DataServerPeer() {
        {
            const std::lock_guard lock(mutex_);
            is_ending_ = true;
        }
        ending_.notify_all();
        context_.TryCancel();
        reader_.join();
        reporter_.join();
    }
    DataServerPeer(const DataServerPeer&) = delete;
    DataServerPeer& operator=(const DataServerPeer&) = delete;

    void report_consumers(const std::vector<std::uint64_t>& consumers) {
        v1::DataServerUp up;
        v1::StreamReport& report = *up.mutable_stream();
        report.set_stream_id(stream_id_of("news").value);
        report.set_name("news");
        *report.mutable_endpoint() = endpoint_of(20'000);
        report.set_publisher_id(1);
        *report.mutable_publisher_address() = endpoint_of(999);
        for (const std::uint64_t consumer : consumers) {
            v1::ConsumerFlow& flow = *report.add_consumers();
            flow.set_consumer_id(consumer);
            *flow.mutable_address() = endpoint_of(4'000);
        }
        write(up);
    }

  private:
    void write(const v1::DataServerUp& up) {
        const std::lock_guard lock(mutex_);
        call_->Write(up);
    }

    void read() {
        v1::DataServerDown down;
        while (call_->Read(&down)) {
            if (!down.has_streams()) {
                continue;
            }
            v1::DataServerUp up;
            up.mutable_applied()->set_epoch(down.streams().epoch());
            up.mutable_applied()->set_generation(down.streams().generation());
            for (const v1::DesiredStream& desired : down.streams().open()) {
                v1::OpenedStream& opened = *up.mutable_applied()->add_opened();
                opened.set_stream_id(desired.stream_id());
                *opened.mutable_endpoint() = endpoint_of(20'000);
            }
            write(up);
        }
    }

    void report_load() {
        v1::DataServerUp up;
        up.mutable_load()->set_utilisation(0.25);
        up.mutable_load()->set_bottleneck("worker 0 busy");
        std::unique_lock lock(mutex_);
        while (!is_ending_) {
            call_->Write(up);
            ending_.wait_for(lock, 50ms);
        }
    }

    std::unique_ptr<v1::DataServers::Stub> stub_;
    grpc::ClientContext context_;
    std::unique_ptr<grpc::ClientReaderWriter<v1::DataServerUp, v1::DataServerDown>> call_;
    std::mutex mutex_;  // one write at a time
    std::condition_variable ending_;
    bool is_ending_ = false;
    std::thread reader_;
    std::thread reporter_;
};

/// Does what it is told and says so.
class PublisherPeer {
  public:
    explicit PublisherPeer(const std::shared_ptr<grpc::Channel>& channel)
        : stub_(v1::Publishers::NewStub(channel)) {
        set_patience(context_);
        call_ = stub_->Session(&context_);
        v1::PublisherUp hello;
        hello.mutable_hello()->set_protocol(kProtocols.newest);
        hello.mutable_hello()->set_publisher_id(1);
        hello.mutable_hello()->set_stream("news");
        hello.mutable_hello()->set_start(v1::START_POLICY_DEMAND);
        hello.mutable_hello()->set_close_after_ms(100);
        call_->Write(hello);
    }
    /// Reads on until it is told `state`; false if the session ends before.
    bool is_told(v1::DesiredState state) {
        v1::PublisherDown down;
        while (call_->Read(&down)) {
            v1::PublisherUp up;
            if (!down.has_desired()) {
                up.mutable_heartbeat();
                call_->Write(up);
                continue;
            }
            newest_ = down.desired();
            v1::PublisherReport& report = *up.mutable_report();
            report.set_version(newest_.version());
            report.set_state(newest_.state());
            report.set_transmitting(newest_.state() == v1::DESIRED_STATE_START);
            call_->Write(up);
            if (newest_.state() == state) {
                return true;
            }
        }
        return false;
    }
    [[nodiscard]] const v1::PublisherDesired& newest() const { return newest_; }

  private:
    std::unique_ptr<v1::Publishers::Stub> stub_;
    grpc::ClientContext context_;
    std::unique_ptr<grpc::ClientReaderWriter<v1::PublisherUp, v1::PublisherDown>> call_;
    v1::PublisherDesired newest_;
};

class ConsumerPeer {
  public:
    explicit ConsumerPeer(const std::shared_ptr<grpc::Channel>& channel,
                          const std::string& stream = "news",
                          std::uint64_t wait_ms = 20'000)
        : stub_(v1::Consumers::NewStub(channel)) {
        set_patience(context_);
        call_ = stub_->Session(&context_);
        v1::ConsumerUp request;
        request.mutable_request()->set_protocol(kProtocols.newest);
        request.mutable_request()->set_consumer_id(2);
        request.mutable_request()->set_stream(stream);
        request.mutable_request()->set_wait_ms(wait_ms);
        call_->Write(request);
    }
    bool is_told(v1::AssignmentState state) {
        v1::ConsumerDown down;
        while (call_->Read(&down)) {
            if (down.has_assignment()) {
                newest_ = down.assignment();
                if (newest_.state() == state) {
                    return true;
                }
            } else if (down.has_reject()) {
                reject_ = down.reject();
            }
        }
        return false;
    }
    /// The session ends from presence's side.
    grpc::Status wait_for_end() {
        v1::ConsumerDown down;
        while (call_->Read(&down)) {
            reject_ = down.has_reject() ? down.reject() : reject_;
        }
        return call_->Finish();
    }
    void hang_up() { context_.TryCancel(); }
    [[nodiscard]] const v1::Assignment& newest() const { return newest_; }
    [[nodiscard]] const v1::Reject& reject() const { return reject_; }

  private:
    std::unique_ptr<v1::Consumers::Stub> stub_;
    grpc::ClientContext context_;
    std::unique_ptr<grpc::ClientReaderWriter<v1::ConsumerUp, v1::ConsumerDown>> call_;
    v1::Assignment newest_;
    v1::Reject reject_;
};

/// Reads the log as it grows until an event of `kind`.
std::vector<std::string> events_until(v1::Operators::Stub& operators, const std::string& kind) {
    grpc::ClientContext context;
    set_patience(context);
    v1::EventsRequest request;
    request.set_follow(true);
    const auto reader = operators.Events(&context, request);
    std::vector<std::string> kinds;
    v1::Event event;
    while ((kinds.empty() || kinds.back() != kind) && reader->Read(&event)) {
        kinds.push_back(event.kind());
    }
    context.TryCancel();
    return kinds;
}

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

TEST(PresenceService, AnswersOperators) {
    const auto service = start_service();
    const auto channel = channel_to(*service);
    const auto operators = v1::Operators::NewStub(channel);
    DataServerPeer data_server(channel);
    static_cast<void>(events_until(*operators, "server_attached"));
    {
        grpc::ClientContext context;
        set_patience(context);
        v1::ListServersReply reply;
        ASSERT_TRUE(operators->ListServers(&context, {}, &reply).ok());
        ASSERT_EQ(reply.servers_size(), 1);
        EXPECT_EQ(reply.servers(0).name(), "ds1");
        EXPECT_EQ(reply.servers(0).boot_id(), 77);
    }
    {
        grpc::ClientContext context;
        set_patience(context);
        v1::ExplainRequest request;
        request.set_stream("nothing");
        v1::ExplainReply reply;
        const grpc::Status status = operators->Explain(&context, request, &reply);
        EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
        EXPECT_THAT(status.error_message(), HasSubstr("no stream is called nothing"));
    }
    {
        grpc::ClientContext context;
        set_patience(context);
        v1::ListStreamsRequest request;
        request.set_name("a\nb");
        v1::ListStreamsReply reply;
        EXPECT_EQ(operators->ListStreams(&context, request, &reply).error_code(),
                  grpc::StatusCode::INVALID_ARGUMENT);
    }
}

TEST(PresenceService, AnswersOneQuestionACall) {
    const auto service = start_service();
    const auto channel = channel_to(*service);
    grpc::ClientContext context;
    set_patience(context);
    const grpc::internal::RpcMethod method("/penstock.v1.Operators/ListStreams",
                                           grpc::internal::RpcMethod::BIDI_STREAMING);
    using Call = grpc::ClientReaderWriter<v1::ListStreamsRequest, v1::ListStreamsReply>;
    const std::unique_ptr<Call> call(
        grpc::internal::ClientReaderWriterFactory<v1::ListStreamsRequest,
                                                  v1::ListStreamsReply>::Create(channel.get(),
                                                                                method,
                                                                                &context));
    for (int i = 0; i < 1000 && call->Write({}); ++i) {
    }
    int answers = 0;
    v1::ListStreamsReply reply;
    while (call->Read(&reply)) {
        ++answers;
    }
    EXPECT_EQ(answers, 1);
    EXPECT_TRUE(call->Finish().ok());
}

TEST(PresenceService, LetsOnlySoManyFollowTheEvents) {
    const auto service = start_service();
    const auto channel = channel_to(*service);
    const auto operators = v1::Operators::NewStub(channel);
    const DataServerPeer data_server(channel);
    static_cast<void>(events_until(*operators, "server_attached"));
    std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
    std::vector<std::unique_ptr<grpc::ClientReader<v1::Event>>> readers;
    v1::EventsRequest request;
    request.set_follow(true);
    v1::Event event;
    for (std::size_t i = 0; i < CoreThread::kFollowersMax; ++i) {
        set_patience(*contexts.emplace_back(std::make_unique<grpc::ClientContext>()));
        readers.push_back(operators->Events(contexts.back().get(), request));
        ASSERT_TRUE(readers.back()->Read(&event));
    }
    grpc::ClientContext context;
    set_patience(context);
    const auto one_more = operators->Events(&context, request);
    while (one_more->Read(&event)) {
    }
    EXPECT_EQ(one_more->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    for (const auto& others : contexts) {
        others->TryCancel();
    }
    for (const auto& others : readers) {
        static_cast<void>(others->Finish());
    }
}

TEST(PresenceService, BreaksOffTheCallOfAnOperatorWhoAsksNothing) {
    const auto service = start_service();
    const auto channel = channel_to(*service);
    grpc::ClientContext context;
    set_patience(context);
    const grpc::internal::RpcMethod method("/penstock.v1.Operators/Events",
                                           grpc::internal::RpcMethod::BIDI_STREAMING);
    using Call = grpc::ClientReaderWriter<v1::EventsRequest, v1::Event>;
    const std::unique_ptr<Call> call(
        grpc::internal::ClientReaderWriterFactory<v1::EventsRequest, v1::Event>::Create(
            channel.get(), method, &context));
    v1::Event event;
    EXPECT_FALSE(call->Read(&event));
    EXPECT_EQ(call->Finish().error_code(), grpc::StatusCode::CANCELLED);
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

TEST(PresenceService, EndsTheEventsOfWhoeverFollowsThemWhenItLeadsNoMore) {
    const auto service = start_service();
    const auto channel = channel_to(*service);
    const auto operators = v1::Operators::NewStub(channel);
    const DataServerPeer data_server(channel);
    grpc::ClientContext context;
    set_patience(context);
    v1::EventsRequest request;
    request.set_follow(true);
    const auto events = operators->Events(&context, request);
    v1::Event event;
    ASSERT_TRUE(events->Read(&event));
    service->take(LeadershipLost{"10.0.0.2:7400"});
    while (events->Read(&event)) {
    }
    const grpc::Status status = events->Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
    EXPECT_EQ(status.error_details(), "10.0.0.2:7400");
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
