#include "rpc/grpc_server.h"

#include "base/socket_address.h"
#include "presence.grpc.pb.h"
#include "rpc/message_reader.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <deque>
#include <fstream>
#include <functional>
#include <memory>
#include <poll.h>
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
            },
            [this] { return may_send_.load(); });
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

    [[nodiscard]] UniqueFd connect() const {
        const SocketAddress address = to_socket_address(server_->listening());
        UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        EXPECT_EQ(::connect(socket.get(), address.get(), address.length), 0);
        return socket;
    }

    /// Returns: how many bytes had come when `is_enough` of them had.
    template <typename IsEnough>
    static std::size_t read_until(const UniqueFd& socket, IsEnough is_enough) {
        std::size_t received = 0;
        std::array<char, 65'536> bytes{};
        while (!is_enough(received)) {
            const ssize_t count = ::recv(socket.get(), bytes.data(), bytes.size(), 0);
            if (count <= 0) {
                break;
            }
            received += static_cast<std::size_t>(count);
        }
        return received;
    }

    /// Sends these bytes. Returns: what came back until the server hung up.
    [[nodiscard]] std::string say(const std::string& bytes) const {
        const UniqueFd socket = connect();
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
    std::atomic<bool> may_send_ = true;
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

TEST_F(GrpcServerTest, HangsUpOnCallersForWhomThereAreNoFiles) {
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    const rlimit few{100, before.rlim_max};  // of which half are left to others
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
    auto second = GrpcServer::listen({IpAddress::v4(0x7f000001U), 0}, {}, 1, {}, {});
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    ASSERT_TRUE(second.ok());
    const SocketAddress address = to_socket_address((*second)->listening());
    std::vector<UniqueFd> callers;
    for (int i = 0; i < 51; ++i) {
        callers.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        ASSERT_EQ(::connect(callers.back().get(), address.get(), address.length), 0);
    }
    char byte = 0;
    ssize_t count = -1;
    while ((count = ::recv(callers.back().get(), &byte, 1, MSG_DONTWAIT)) < 0) {
        (*second)->poll(monotonic_now());
    }
    EXPECT_EQ(count, 0) << "hung up, and not left to wait";
    EXPECT_GT(::recv(callers.front().get(), &byte, 1, MSG_DONTWAIT), 0) << "its settings";
}

/// What every connection begins with: the preface, and settings.
std::string opening(bool is_window_closed = false) {
    std::string bytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    return bytes + (is_window_closed ? std::string("\0\0\6\4\0\0\0\0\0\0\4\0\0\0\0", 15)
                                     : std::string("\0\0\0\4\0\0\0\0\0", 9));
}

std::string frame(int type, int flags, std::uint32_t stream, const std::string& payload) {
    std::string bytes;
    for (const unsigned shift : {16U, 8U, 0U}) {
        bytes += static_cast<char>(payload.size() >> shift & 0xffU);
    }
    bytes += static_cast<char>(type);
    bytes += static_cast<char>(flags);
    for (const unsigned shift : {24U, 16U, 8U, 0U}) {
        bytes += static_cast<char>(stream >> shift & 0xffU);
    }
    return bytes + payload;
}

/// Headers of a call, uncompressed. Source: RFC 7541, 6.2.2.
std::string headers_of(std::uint32_t stream, const std::string& method) {
    std::string block;
    const auto add = [&block](const std::string& name, const std::string& value) {
        block += '\0';
        block += static_cast<char>(name.size());
        block += name;
        block += static_cast<char>(value.size());
        block += value;
    };
    add(":method", "POST");
    add(":scheme", "http");
    add(":path", method);
    add("content-type", "application/grpc");
    return frame(1, 4, stream, block);
}

/// Sends `bytes` again and again until the server takes no more or hangs up. Returns: how many.
std::size_t press(const UniqueFd& socket, const std::string& bytes, std::size_t most) {
    std::size_t sent = 0;
    pollfd writable{socket.get(), POLLOUT, 0};
    while (sent<most&& ::poll(&writable, 1, 1'000)> 0) {
        const ssize_t count =
            ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count < 0 && errno != EAGAIN) {
            break;
        }
        sent += count < 0 ? 0 : static_cast<std::size_t>(count);
    }
    return sent;
}

std::size_t resident_bytes() {
    std::ifstream statm("/proc/self/statm");  // proc(5): pages, of which resident
    std::size_t pages = 0;
    statm >> pages >> pages;
    return pages * 4096;
}

constexpr std::size_t kFloodBytes = 64U << 20U;
constexpr std::size_t kGrowthMost = 16U << 20U;

TEST_F(GrpcServerTest, KeepsNothingOfACallThatIsOver) {
    const UniqueFd socket = connect();
    const std::string begin = opening(true) + headers_of(1, "/no.Such/Method");
    ASSERT_GT(::send(socket.get(), begin.data(), begin.size(), MSG_NOSIGNAL), 0);
    const std::size_t before = resident_bytes();
    press(socket, frame(0, 0, 1, std::string(16'000, 'x')), kFloodBytes);
    EXPECT_LT(resident_bytes(), before + kGrowthMost);
    EXPECT_TRUE(ask("the next").ok());
}

TEST_F(GrpcServerTest, KeepsOfUnfinishedMessagesNoMoreThanAWindow) {
    const UniqueFd socket = connect();
    std::string all = opening();
    const std::string part =
        std::string("\0\0\1\x86\xa0", 5) + std::string(16'000, 'x');  // of 100,000 bytes
    for (std::uint32_t stream = 1; stream < 2'000; stream += 2) {
        all += headers_of(stream, "/penstock.v1.Operators/Events") + frame(0, 0, stream, part);
    }
    const std::size_t before = resident_bytes();
    EXPECT_LT(press(socket, all, 1), 16U << 20U);
    EXPECT_TRUE(ask("the next").ok());
    EXPECT_LT(resident_bytes(), before + kGrowthMost);
}

TEST_F(GrpcServerTest, OwesNobodyMoreThanSomeThousandAnswers) {
    const UniqueFd socket = connect();
    std::string all = opening();
    for (std::uint32_t stream = 1; stream < 200'000; stream += 2) {
        all += headers_of(stream, "/penstock.v1.Operators/Events");
    }
    const std::size_t before = resident_bytes();
    press(socket, all, kFloodBytes);  // answers are not read
    EXPECT_LT(resident_bytes(), before + kGrowthMost);
    EXPECT_TRUE(ask("the next").ok());
}

TEST_F(GrpcServerTest, SendsNothingOfWhatWasBegunOnceItMayNot) {
    const UniqueFd socket = connect();
    v1::EventsRequest request;
    request.set_stream(std::string(kMessageMost - 100, 'x'));
    request.set_after_sequence(1);
    std::string message;
    const std::size_t begin = begin_message(message);
    request.AppendToString(&message);
    end_message(message, begin);
    std::string all = opening() + headers_of(1, "/penstock.v1.Operators/Events");
    for (std::size_t at = 0; at < message.size(); at += 16'000) {
        all += frame(0, 0, 1, message.substr(at, 16'000));
    }
    ASSERT_EQ(::send(socket.get(), all.data(), all.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(all.size()));
    // The caller's window, 65,535 bytes, is less than the answer.
    std::size_t received = read_until(socket, [](std::size_t bytes) { return bytes >= 65'535; });
    may_send_ = false;
    const std::string more = frame(8, 0, 1, std::string("\0\1\0\0", 4)) +
                             frame(8, 0, 0, std::string("\0\1\0\0", 4));  // WINDOW_UPDATE
    ASSERT_GT(::send(socket.get(), more.data(), more.size(), MSG_NOSIGNAL), 0);
    while (open_ != 0) {  // until the test's own timeout
        std::this_thread::yield();
    }
    received += read_until(socket, [](std::size_t bytes) { return bytes >= 13; });  // RST_STREAM
    EXPECT_LT(received, 66'500);
}

TEST_F(GrpcServerTest, SaysWhyItCannotListen) {
    const auto second = GrpcServer::listen(server_->listening(), {}, 1, {}, {});
    ASSERT_FALSE(second.ok());
    EXPECT_EQ(second.error().message,
              "cannot listen at " + to_string(server_->listening()) +
                  ": Address already in use; choose another --listen");
}

}  // namespace
}  // namespace penstock::control
