#include "rpc/grpc_server.h"

#include "base/socket_address.h"
#include "presence.grpc.pb.h"
#include "rpc/message_reader.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <sys/resource.h>
#include <sys/socket.h>
#include <thread>
#include <utility>
#include <vector>

namespace penstock::control {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr std::size_t kMessageMost = 100'000;
constexpr auto kPatience = 20s;  // of every call: a test that waits longer has failed

/// Answers an event for each that it is asked for, and does what the tests need besides.
class Echo final : public CallHandler {
  public:
    Echo(ServerCall& call, std::atomic<int>& open) : call_(call), open_(open) { ++open_; }

    void take(std::string_view message) override {
        v1::EventsRequest request;
        ASSERT_TRUE(request.ParseFromArray(message.data(), static_cast<int>(message.size())));
        if (request.stream() == "break off") {
            call_.cancel();
        } else if (request.stream() == "refuse") {
            call_.finish(
                {grpc::StatusCode::NOT_FOUND, "100 % \xc3\xa9\n", std::string("\0\xff", 2)});
        } else {
            v1::Event event;
            event.set_detail(request.stream());
            for (std::uint64_t i = 0; i < request.after_sequence(); ++i) {
                event.set_sequence(i + 1);
                events_.push_back(event.SerializeAsString());
            }
            call_.wake();
        }
    }
    void end_of_messages() override { call_.finish(grpc::Status::OK); }
    bool give(std::string& out) override {
        if (events_.empty()) {
            return false;
        }
        out += events_.front();
        events_.pop_front();
        return true;
    }
    void closed() override { --open_; }

  private:
    ServerCall& call_;
    std::atomic<int>& open_;
    std::deque<std::string> events_;
};

class GrpcServerTest : public testing::Test {
  protected:
    GrpcServerTest() {
        auto server = GrpcServer::listen(
            {IpAddress::v4(0x7f000001U), 0},
            {},
            kMessageMost,
            [this](std::string_view method, ServerCall& call) -> std::unique_ptr<CallHandler> {
                if (method != "/penstock.v1.Operators/Events") {
                    return nullptr;
                }
                return std::make_unique<Echo>(call, open_);
            });
        EXPECT_TRUE(server.ok());
        server_ = std::move(server).value();
        thread_ = std::thread([this] {
            while (!is_over_) {
                server_->poll(MonotonicTime::max());
            }
        });
        channel_ = grpc::CreateChannel(to_string(server_->listening()),
                                       grpc::InsecureChannelCredentials());
        stub_ = v1::Operators::NewStub(channel_);
    }
    ~GrpcServerTest() override { stop(); }

    void stop() {
        if (thread_.joinable()) {
            is_over_ = true;
            server_->wake();
            thread_.join();
            server_.reset();
        }
    }

    static void set_patience(grpc::ClientContext& context) {
        context.set_deadline(std::chrono::system_clock::now() + kPatience);
    }

    /// Asks for `count` events of a detail. Returns: how the call ended.
    grpc::Status ask(
        const std::string& detail,
        std::uint64_t count = 1,
        const std::function<void(const v1::Event&)>& on_event = [](const auto&) {}) {
        grpc::ClientContext context;
        set_patience(context);
        v1::EventsRequest request;
        request.set_stream(detail);
        request.set_after_sequence(count);
        const auto reader = stub_->Events(&context, request);
        v1::Event event;
        while (reader->Read(&event)) {
            on_event(event);
        }
        return reader->Finish();
    }

    /// Sends these bytes. Returns: what came back until the server hung up.
    [[nodiscard]] std::string say(const std::string& bytes) const {
        const SocketAddress address = to_socket_address(server_->listening());
        const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        EXPECT_EQ(::connect(socket.get(), address.get(), address.length), 0);
        EXPECT_EQ(::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(bytes.size()));
        std::string answer;
        std::array<char, 4096> more{};
        for (ssize_t count = 0; (count = ::recv(socket.get(), more.data(), more.size(), 0)) > 0;) {
            answer.append(more.data(), static_cast<std::size_t>(count));
        }
        return answer;
    }

    std::atomic<int> open_ = 0;
    std::atomic<bool> is_over_ = false;
    std::unique_ptr<GrpcServer> server_;
    std::thread thread_;
    std::shared_ptr<grpc::Channel> channel_;
    std::unique_ptr<v1::Operators::Stub> stub_;
};

TEST_F(GrpcServerTest, AnswersInOrderAndEndsWithTheStatus) {
    std::uint64_t newest = 0;
    const grpc::Status status =
        ask("x", 1000, [&](const v1::Event& event) { EXPECT_EQ(event.sequence(), ++newest); });
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(newest, 1000);
}

TEST_F(GrpcServerTest, CarriesMessagesLongerThanAFrameAndAWindow) {
    const std::string detail(kMessageMost - 100, 'x');
    int events = 0;
    const grpc::Status status = ask(detail, 50, [&](const v1::Event& event) {
        EXPECT_EQ(event.detail().size(), detail.size());
        ++events;
    });
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(events, 50);
}

TEST_F(GrpcServerTest, TellsStatusMessageAndDetailsWhateverBytesTheyHave) {
    const grpc::Status status = ask("refuse");
    EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
    EXPECT_EQ(status.error_message(), "100 % \xc3\xa9\n");
    EXPECT_EQ(status.error_details(), std::string("\0\xff", 2));
}

TEST_F(GrpcServerTest, KnowsNoOtherMethod) {
    grpc::ClientContext context;
    set_patience(context);
    v1::StatusReply reply;
    const grpc::Status status = stub_->Status(&context, {}, &reply);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
    EXPECT_THAT(status.error_message(), HasSubstr("/penstock.v1.Operators/Status"));
}

TEST_F(GrpcServerTest, RefusesAMessageThatIsTooLong) {
    const grpc::Status status = ask(std::string(kMessageMost + 1, 'x'));
    EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_EQ(status.error_message(), "a message has at most 100000 bytes");
    EXPECT_TRUE(ask("the next").ok());
}

TEST_F(GrpcServerTest, RefusesACompressedMessage) {
    grpc::ClientContext context;
    set_patience(context);
    context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
    v1::EventsRequest request;
    request.set_stream(std::string(1000, 'x'));
    const auto reader = stub_->Events(&context, request);
    v1::Event event;
    EXPECT_FALSE(reader->Read(&event));
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(GrpcServerTest, ResetsACallWithTooManyHeaders) {
    grpc::ClientContext context;
    set_patience(context);
    context.AddMetadata("x", std::string(GrpcServer::kHeaderBytesMax, 'x'));
    const auto reader = stub_->Events(&context, {});
    v1::Event event;
    EXPECT_FALSE(reader->Read(&event));
    EXPECT_FALSE(reader->Finish().ok());
    EXPECT_TRUE(ask("the next").ok());
}

TEST_F(GrpcServerTest, BreaksACallOff) {
    EXPECT_FALSE(ask("break off").ok());
    EXPECT_TRUE(ask("the next").ok());
}

TEST_F(GrpcServerTest, ClosesTheHandlerOfACallerThatHangsUp) {
    grpc::ClientContext context;
    set_patience(context);
    const auto call = stub_->Events(&context, {});
    EXPECT_TRUE(ask("another").ok());
    context.TryCancel();
    static_cast<void>(call->Finish());
    while (open_ != 0) {  // until the test's own timeout
        std::this_thread::yield();
    }
}

TEST_F(GrpcServerTest, ClosesEveryHandlerWhenItEnds) {
    grpc::ClientContext context;
    set_patience(context);
    v1::EventsRequest request;
    request.set_stream("x");
    request.set_after_sequence(1);
    const grpc::internal::RpcMethod method("/penstock.v1.Operators/Events",
                                           grpc::internal::RpcMethod::BIDI_STREAMING);
    const std::unique_ptr<grpc::ClientReaderWriter<v1::EventsRequest, v1::Event>> call(
        grpc::internal::ClientReaderWriterFactory<v1::EventsRequest, v1::Event>::Create(
            channel_.get(), method, &context));
    call->Write(request);
    v1::Event event;
    ASSERT_TRUE(call->Read(&event));
    EXPECT_EQ(open_, 1);
    stop();
    EXPECT_EQ(open_, 0);
    EXPECT_FALSE(call->Read(&event));
    EXPECT_EQ(call->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(GrpcServerTest, HangsUpOnWhatIsNoHttp2) {
    EXPECT_EQ(say("GET / HTTP/1.1\r\n\r\n").find("HTTP/1.1"), std::string::npos);
    EXPECT_EQ(say(std::string(100, '\0')).find("HTTP/1.1"), std::string::npos);
    EXPECT_TRUE(ask("the next").ok());
}

TEST_F(GrpcServerTest, HangsUpOnWhoSaysNothing) {
    const auto began = std::chrono::steady_clock::now();
    EXPECT_EQ(say("PRI * HTTP/2.0\r\n").find("HTTP/1.1"), std::string::npos);
    EXPECT_GE(std::chrono::steady_clock::now() - began, GrpcServer::kHandshakeMost - 1s);
}

TEST_F(GrpcServerTest, HangsUpOnAFloodOfPings) {
    std::string flood("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    flood += std::string("\0\0\0\4\0\0\0\0\0", 9);  // SETTINGS
    for (int i = 0; i < 20'000; ++i) {
        flood += std::string("\0\0\x08\6\0\0\0\0\0", 9) + "12345678";  // PING
    }
    const SocketAddress address = to_socket_address(server_->listening());
    const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int small = 4096;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    ASSERT_EQ(::connect(socket.get(), address.get(), address.length), 0);
    bool is_hung_up = false;  // nothing is ever read: the answers pile up
    for (int round = 0; round < 1'000 && !is_hung_up; ++round) {
        is_hung_up = ::send(socket.get(), flood.data(), flood.size(), MSG_NOSIGNAL) < 0;
    }
    EXPECT_TRUE(is_hung_up);
    EXPECT_TRUE(ask("the next").ok());
}

TEST_F(GrpcServerTest, TurnsCallersAwayWhenThereAreNoFilesLeft) {
    EXPECT_TRUE(ask("before").ok());
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    const SocketAddress address = to_socket_address(server_->listening());
    const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int next = UniqueFd(::dup(socket.get())).get();  // the lowest that is free
    const rlimit none{static_cast<rlim_t>(next), before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    ASSERT_EQ(::connect(socket.get(), address.get(), address.length), 0);
    char byte = 0;
    EXPECT_LE(::recv(socket.get(), &byte, 1, 0), 0) << "hung up, not left to wait";
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT_TRUE(ask("the next").ok());
}

TEST_F(GrpcServerTest, SaysWhyItCannotListen) {
    const auto second = GrpcServer::listen(server_->listening(), {}, 1, {});
    ASSERT_FALSE(second.ok());
    EXPECT_EQ(second.error().message,
              "cannot listen at " + to_string(server_->listening()) +
                  ": Address already in use; choose another --listen");
}

}  // namespace
}  // namespace penstock::control
