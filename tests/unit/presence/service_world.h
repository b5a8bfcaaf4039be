// A presence service on loopback, and who talks to it: over real gRPC, with a store in memory.
#pragma once

#include "base/clock.h"
#include "base/protocol.h"
#include "presence.grpc.pb.h"
#include "presence/presence_service.h"
#include "presence/recover.h"
#include "rpc/messages.h"
#include "wire/ticket.h"

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

constexpr auto kPatience =
    std::chrono::seconds{20};  // of every call: a test that waits longer has failed

inline State fresh_state() {
    Durable facts;
    facts.epoch = 1;
    fill_random(facts.master_key.bytes);
    State state;
    state.random = random_u64;
    lead(state, std::move(facts), monotonic_now() - std::chrono::hours{1});  // long settled
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

inline MemoryStore& shared_store() {
    static MemoryStore store;
    return store;
}

inline const CommandGate& open_gate() {
    static CommandGate gate;
    gate.open_until(BootTime::max());
    return gate;
}

inline std::unique_ptr<PresenceService> start_service(std::uint16_t port = 0) {
    EXPECT_TRUE(initialise_cryptography());
    auto service = PresenceService::start(
        {IpAddress::v4(0x7f000001U), port}, {}, fresh_state(), shared_store(), open_gate());
    EXPECT_TRUE(service.ok());
    return std::move(service).value();
}

inline std::shared_ptr<grpc::Channel> channel_to(const PresenceService& service) {
    return grpc::CreateChannel(to_string(service.listening()), grpc::InsecureChannelCredentials());
}

inline void set_patience(grpc::ClientContext& context) {
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
}

inline v1::Endpoint endpoint_of(std::uint32_t port) {
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
            ending_.wait_for(lock, std::chrono::milliseconds{50});
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
inline std::vector<std::string> events_until(v1::Operators::Stub& operators,
                                             const std::string& kind) {
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

}  // namespace penstock::presence
