#include "presence/operator_service.h"

#include "unit/presence/service_world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace penstock::presence {
namespace {

using testing::HasSubstr;

constexpr const char* kListStreams = "/penstock.v1.Operators/ListStreams";
constexpr const char* kEvents = "/penstock.v1.Operators/Events";

/// A call of a method that takes one question, by a caller who may ask none, or many.
template <typename Request, typename Reply>
std::unique_ptr<grpc::ClientReaderWriter<Request, Reply>> open_call(grpc::Channel& channel,
                                                                    grpc::ClientContext& context,
                                                                    const char* method) {
    return std::unique_ptr<grpc::ClientReaderWriter<Request, Reply>>(
        grpc::internal::ClientReaderWriterFactory<Request, Reply>::Create(
            &channel,
            grpc::internal::RpcMethod(method, grpc::internal::RpcMethod::BIDI_STREAMING),
            &context));
}

TEST(OperatorService, Answers) {
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

TEST(OperatorService, AnswersOneQuestionACall) {
    const auto service = start_service();
    const auto channel = channel_to(*service);
    grpc::ClientContext context;
    set_patience(context);
    const auto call =
        open_call<v1::ListStreamsRequest, v1::ListStreamsReply>(*channel, context, kListStreams);
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

TEST(OperatorService, LetsOnlySoManyFollowTheEvents) {
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

TEST(OperatorService, BreaksOffTheCallOfWhoeverAsksNothing) {
    const auto service = start_service();
    const auto channel = channel_to(*service);
    grpc::ClientContext context;
    set_patience(context);
    const auto call = open_call<v1::EventsRequest, v1::Event>(*channel, context, kEvents);
    v1::Event event;
    EXPECT_FALSE(call->Read(&event));
    EXPECT_EQ(call->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST(OperatorService, EndsTheEventsOfWhoeverFollowsThemWhenItLeadsNoMore) {
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

/// Calls that ask nothing yet.
class HeldCalls {
  public:
    HeldCalls(const PresenceService& service, std::size_t count) : channel_(channel_to(service)) {
        for (std::size_t i = 0; i < count; ++i) {
            set_patience(*contexts_.emplace_back(std::make_unique<grpc::ClientContext>()));
            calls_.push_back(
                open_call<v1::EventsRequest, v1::Event>(*channel_, *contexts_.back(), kEvents));
        }
    }
    ~HeldCalls() {
        for (const auto& context : contexts_) {
            context->TryCancel();
        }
        for (const auto& call : calls_) {
            static_cast<void>(call->Finish());
        }
    }
    HeldCalls(const HeldCalls&) = delete;
    HeldCalls& operator=(const HeldCalls&) = delete;

  private:
    const std::shared_ptr<grpc::Channel> channel_;
    std::vector<std::unique_ptr<grpc::ClientContext>> contexts_;
    std::vector<std::unique_ptr<grpc::ClientReaderWriter<v1::EventsRequest, v1::Event>>> calls_;
};

/// Asks for the status until the answer is `wanted`.
bool is_answered(v1::Operators::Stub& operators, grpc::StatusCode wanted) {
    const MonotonicTime until = monotonic_now() + kPatience;
    while (monotonic_now() < until) {
        grpc::ClientContext context;
        set_patience(context);
        v1::StatusReply reply;
        if (operators.Status(&context, {}, &reply).error_code() == wanted) {
            return true;
        }
    }
    return false;
}

TEST(OperatorService, LetsOnlySoManyAskAtATime) {
    const auto service = start_service();
    const auto operators = v1::Operators::NewStub(channel_to(*service));
    {
        const HeldCalls held(*service, OperatorService::kCallsMax);
        EXPECT_TRUE(is_answered(*operators, grpc::StatusCode::RESOURCE_EXHAUSTED));
    }
    EXPECT_TRUE(is_answered(*operators, grpc::StatusCode::OK)) << "once they have gone";
}

}  // namespace
}  // namespace penstock::presence
