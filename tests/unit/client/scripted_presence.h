#pragma once

#include "presence.grpc.pb.h"

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace penstock {

/// How long a test waits for what must happen. Nothing takes that long unless it is broken.
inline constexpr std::chrono::seconds kPatience{20};

/// The server's end of one kind of session, of which the test says every word. Heartbeats are
/// answered and not shown to the test.
template <typename Up, typename Down>
class ScriptedSessions {
  public:
    /// In gRPC's thread: one session from beginning to end.
    grpc::Status serve(grpc::ServerContext* context, grpc::ServerReaderWriter<Down, Up>* stream) {
        {
            const std::lock_guard lock(mutex_);
            context_ = context;
            stream_ = stream;
            heard_.clear();
            ++begun_;
        }
        changed_.notify_all();
        Up up;
        while (stream->Read(&up)) {
            const std::lock_guard lock(mutex_);
            if constexpr (requires { up.has_heartbeat(); }) {
                if (up.has_heartbeat()) {
                    Down down;
                    down.mutable_heartbeat();
                    stream->Write(down);
                    continue;
                }
            }
            heard_.push_back(up);
            changed_.notify_all();
        }
        const std::lock_guard lock(mutex_);
        if (stream_ == stream) {
            stream_ = nullptr;
        }
        changed_.notify_all();
        return grpc::Status::OK;
    }

    /// The next message of the client.
    Up hear() {
        std::unique_lock lock(mutex_);
        const bool came = changed_.wait_for(lock, kPatience, [&] { return !heard_.empty(); });
        EXPECT_TRUE(came) << "the client said nothing";
        if (!came) {
            return {};
        }
        Up up = heard_.front();
        heard_.pop_front();
        return up;
    }
    /// The next message for which `fits`; those before it are passed over.
    template <typename Fits>
    Up hear_until(Fits fits) {
        const auto give_up_at = std::chrono::steady_clock::now() + kPatience;
        while (std::chrono::steady_clock::now() < give_up_at) {
            Up up = hear();
            if (fits(up)) {
                return up;
            }
        }
        ADD_FAILURE() << "the client did not say it";
        return {};
    }
    void say(const Down& down) {
        const std::lock_guard lock(mutex_);
        ASSERT_NE(stream_, nullptr) << "no session";
        stream_->Write(down);
    }
    /// Ends the session that is open.
    void cut() {
        const std::lock_guard lock(mutex_);
        if (stream_ != nullptr) {
            context_->TryCancel();
        }
    }
    void wait_for_session(int number) {
        std::unique_lock lock(mutex_);
        EXPECT_TRUE(changed_.wait_for(lock, kPatience, [&] { return begun_ >= number; }));
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    grpc::ServerContext* context_ = nullptr;
    grpc::ServerReaderWriter<Down, Up>* stream_ = nullptr;
    std::deque<Up> heard_;
    int begun_ = 0;
};

/// What gRPC calls of the service `Base`.
template <typename Base, typename Up, typename Down>
class ScriptedService final : public Base {
  public:
    explicit ScriptedService(ScriptedSessions<Up, Down>& sessions) : sessions_(sessions) {}
    grpc::Status Session(  // NOLINT(readability-identifier-naming): the service's name for it
        grpc::ServerContext* context,
        grpc::ServerReaderWriter<Down, Up>* stream) override {
        return sessions_.serve(context, stream);
    }

  private:
    ScriptedSessions<Up, Down>& sessions_;
};

/// A presence on loopback, at a port of the system's choice, that says what the test says.
class ScriptedPresence {
  public:
    ScriptedPresence() {
        grpc::ServerBuilder builder;
        builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
        builder.RegisterService(&publisher_service_);
        builder.RegisterService(&consumer_service_);
        builder.RegisterService(&data_server_service_);
        server_ = builder.BuildAndStart();
    }
    ~ScriptedPresence() {
        publishers.cut();
        consumers.cut();
        data_servers.cut();
        server_->Shutdown(std::chrono::system_clock::now());
    }
    ScriptedPresence(const ScriptedPresence&) = delete;
    ScriptedPresence& operator=(const ScriptedPresence&) = delete;

    [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

    ScriptedSessions<v1::PublisherUp, v1::PublisherDown> publishers;
    ScriptedSessions<v1::ConsumerUp, v1::ConsumerDown> consumers;
    ScriptedSessions<v1::DataServerUp, v1::DataServerDown> data_servers;

  private:
    int port_ = 0;
    ScriptedService<v1::Publishers::Service, v1::PublisherUp, v1::PublisherDown> publisher_service_{
        publishers};
    ScriptedService<v1::Consumers::Service, v1::ConsumerUp, v1::ConsumerDown> consumer_service_{
        consumers};
    ScriptedService<v1::DataServers::Service, v1::DataServerUp, v1::DataServerDown>
        data_server_service_{data_servers};
    std::unique_ptr<grpc::Server> server_;
};

}  // namespace penstock
