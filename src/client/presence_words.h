#pragma once

#include "client/desired_state.h"
#include "client/presence_client.h"
#include "presence.grpc.pb.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/support/async_stream.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace penstock {

// What is said in a session with presence: the greeting, what is sent when, what is made of what
// comes. Each has an outbox that holds each kind of message at most once, so it is bounded.
// Thread: on_desired() and hello() the session's; the rest any.

class PublisherWords {
  public:
    using Up = v1::PublisherUp;
    using Down = v1::PublisherDown;
    using Call = grpc::ClientAsyncReaderWriter<Up, Down>;

    PublisherWords(PublishRequest request, PresenceEvents<DesiredPublishing>& events);

    static std::unique_ptr<Call> prepare(const std::shared_ptr<grpc::Channel>& channel,
                                         grpc::ClientContext& context,
                                         grpc::CompletionQueue& queue);

    void set_report(const PublishingReport& report);
    /// The first message of a session.
    Up hello();
    /// The next message of the outbox.
    std::optional<Up> next();
    /// Hands on what is whole and above all before; the rest is answered with what holds.
    void on_desired(const Down& down);

    PresenceEvents<DesiredPublishing>& events() noexcept { return events_; }

  private:
    const PublishRequest request_;
    PresenceEvents<DesiredPublishing>& events_;
    VersionGate gate_;
    std::mutex mutex_;  // guards what follows
    PublishingReport report_;
    bool report_is_due_ = false;
};

class ConsumerWords {
  public:
    using Up = v1::ConsumerUp;
    using Down = v1::ConsumerDown;
    using Call = grpc::ClientAsyncReaderWriter<Up, Down>;

    ConsumerWords(std::uint64_t consumer_id, std::string stream, ConsumerEvents& events);

    static std::unique_ptr<Call> prepare(const std::shared_ptr<grpc::Channel>& channel,
                                         grpc::ClientContext& context,
                                         grpc::CompletionQueue& queue);

    void set_renew(std::uint64_t version);
    /// The first message of a session. A renewal asked for before is covered by it.
    Up hello();
    /// The next message of the outbox.
    std::optional<Up> next();
    /// Hands on what is whole and above all before.
    void on_desired(const Down& down);

    ConsumerEvents& events() noexcept { return events_; }

  private:
    const std::uint64_t consumer_id_;
    const std::string stream_;
    ConsumerEvents& events_;
    VersionGate gate_;
    std::mutex mutex_;  // guards what follows
    std::optional<std::uint64_t> renew_;
};

}  // namespace penstock
