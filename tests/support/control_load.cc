/// Peers that a test wants by the thousand, or wants to misbehave: a data server that reports its
/// load as fast as the connection takes it, or one that says how busy it is and has nothing to do,
/// or very many consumers in one process. Says what it saw as one JSON object a line.
#include "base/protocol.h"
#include "presence.grpc.pb.h"

#include <penstock/consumer.h>

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace penstock {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr const char* kUsage =
    "control-load storm PRESENCE NAME SECONDS | control-load busy PRESENCE NAME UTILISATION |"
    " control-load herd PRESENCE STREAM COUNT ADDRESS\n";
constexpr milliseconds kReportInterval{100};
constexpr milliseconds kLookInterval{20};  // a thousand consumers are looked at in some of these

template <typename... Values>
void say(fmt::format_string<Values...> text, Values&&... values) {
    fmt::print(text, std::forward<Values>(values)...);
    std::fputc('\n', stdout);
    std::fflush(stdout);
}

/// The session of a data server without streams, from its hello on.
class EmptyServer {
  public:
    EmptyServer(const std::string& presence, const std::string& name)
        : stub_(v1::DataServers::NewStub(
              grpc::CreateChannel(presence, grpc::InsecureChannelCredentials()))),
          call_(stub_->Session(&context_)) {
        v1::DataServerHello& hello = *up_.mutable_hello();
        hello.set_protocol(kProtocols.newest);
        hello.set_name(name);
        hello.set_boot_id(1);
        hello.set_streams_max(1);
        hello.set_consumers_max(1);
        call_->Write(up_);
        up_.mutable_reports_done();
        call_->Write(up_);
        reader_ = std::thread([this] { read(); });
    }

    ~EmptyServer() {
        context_.TryCancel();
        reader_.join();
    }
    EmptyServer(const EmptyServer&) = delete;
    EmptyServer& operator=(const EmptyServer&) = delete;

    /// Also answers what it was told since the last time. Returns: false if the session is over.
    bool report(std::uint64_t sequence, double utilisation) {
        if (const std::uint64_t told = told_; told != applied_) {
            applied_ = told;
            up_.mutable_applied()->set_epoch(epoch_);
            up_.mutable_applied()->set_generation(told);
            call_->Write(up_);
        }
        up_.mutable_load()->set_sequence(sequence);
        up_.mutable_load()->set_utilisation(utilisation);
        return call_->Write(up_);
    }

    /// Ends the session, in the middle of a report if need be. Thread: any.
    void cancel() { context_.TryCancel(); }

  private:
    void read() {
        v1::DataServerDown down;
        while (call_->Read(&down)) {
            if (down.has_welcome()) {
                say(R"({{"event": "welcome"}})");
            } else if (down.has_streams()) {
                epoch_ = down.streams().epoch();
                told_ = down.streams().generation();
            }
        }
    }

    grpc::ClientContext context_;
    const std::unique_ptr<v1::DataServers::Stub> stub_;
    const std::unique_ptr<grpc::ClientReaderWriter<v1::DataServerUp, v1::DataServerDown>> call_;
    v1::DataServerUp up_;
    std::atomic<std::uint64_t> epoch_ = 0;
    std::atomic<std::uint64_t> told_ = 0;  // newest generation of its streams, which are none
    std::uint64_t applied_ = 0;
    std::thread reader_;
};

/// Reports without a pause.
int storm(const std::string& presence, const std::string& name, int seconds) {
    EmptyServer server(presence, name);
    // What is written and not read fills the connection's windows; then a write waits.
    const Clock::time_point end = Clock::now() + std::chrono::seconds(seconds);
    std::thread ender([&] {
        std::this_thread::sleep_until(end);
        server.cancel();
    });
    std::uint64_t sent = 0;
    while (Clock::now() < end && server.report(sent + 1, 0.5)) {
        ++sent;
    }
    ender.join();
    say(R"({{"event": "stormed", "reports": {}}})", sent);
    return 0;
}

/// Reports so much load, as often as it should, until it is killed or nobody listens.
int busy(const std::string& presence, const std::string& name, double utilisation) {
    EmptyServer server(presence, name);
    for (std::uint64_t sequence = 1; server.report(sequence, utilisation); ++sequence) {
        std::this_thread::sleep_for(kReportInterval);
    }
    return 1;
}

/// One consumer of a herd: when it asked presence last, and how long it took to be told where to
/// join (or that it is where it should be).
struct Member {
    std::unique_ptr<Consumer> consumer;
    Clock::time_point requested_at;
    std::chrono::nanoseconds took{0};
    bool is_answered = false;

    void look() {
        const ConsumerStatus status = consumer->status();
        requested_at = status.requested_at;
        is_answered = status.assigned_at > requested_at && status.last_error.empty();
        took = status.assigned_at - requested_at;
    }
};

void say_answered(std::vector<Member>& members, int times) {
    std::ranges::sort(members, {}, &Member::took);
    const std::size_t rank = members.size() * 99 / 100;
    say(R"({{"event": "answered", "times": {}, "p50_ms": {}, "p99_ms": {}, "most_ms": {}}})",
        times,
        duration_cast<milliseconds>(members[members.size() / 2].took).count(),
        duration_cast<milliseconds>(members[rank].took).count(),
        duration_cast<milliseconds>(members.back().took).count());
}

/// Consumers of one stream, worked by one thread until they are killed. Says it each time when all
/// have an answer to a request that each has made since the last time.
int herd(const std::string& presence,
         const std::string& stream,
         std::size_t count,
         const std::string& address) {
    ConsumerOptions options;
    options.presence = {presence};
    options.stream = stream;
    options.wait = milliseconds::max();
    options.bind_address = address;
    options.receive_buffer_bytes = 1U << 16U;
    options.insecure = true;
    std::vector<Member> members(count);
    for (Member& member : members) {
        auto opened = Consumer::open(options);
        if (!opened) {
            fmt::print(stderr, "control-load: {}\n", opened.error().message);
            return 1;
        }
        member.consumer = std::move(opened).value();
    }
    int times = 0;
    Clock::time_point told_at;  // when all were answered
    while (true) {
        for (Member& member : members) {
            std::array<Datagram, 8> datagrams;
            static_cast<void>(member.consumer->receive(datagrams, milliseconds(0)));
            member.look();
        }
        const bool are_all_answered = std::ranges::all_of(members, [&](const Member& member) {
            return member.is_answered && member.requested_at > told_at;
        });
        if (are_all_answered) {
            told_at = Clock::now();
            say_answered(members, ++times);
        }
        std::this_thread::sleep_for(kLookInterval);
    }
}

int run(std::span<char*> words) {
    if (words.size() == 5 && std::string_view(words[1]) == "storm") {
        return storm(words[2], words[3], std::atoi(words[4]));
    }
    if (words.size() == 5 && std::string_view(words[1]) == "busy") {
        return busy(words[2], words[3], std::strtod(words[4], nullptr));
    }
    if (words.size() == 6 && std::string_view(words[1]) == "herd") {
        return herd(words[2], words[3], std::strtoul(words[4], nullptr, 10), words[5]);
    }
    std::fputs(kUsage, stderr);
    return 2;
}

}  // namespace
}  // namespace penstock

int main(int argc, char** argv) { return penstock::run({argv, static_cast<std::size_t>(argc)}); }
