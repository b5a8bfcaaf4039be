#include "presence/operator_service.h"

#include "presence.grpc.pb.h"
#include "presence/queries.h"
#include "presence/rebalance.h"
#include "rpc/convert.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <deque>
#include <mutex>
#include <utility>

namespace penstock::presence {
namespace {

constexpr std::size_t kEventsAtOnce = 200;

std::chrono::milliseconds unix_now() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::system_clock::now().time_since_epoch());
}

grpc::Status status_of(const Error& error) {
    return {error.code == ErrorCode::not_found ? grpc::StatusCode::NOT_FOUND
                                               : grpc::StatusCode::INTERNAL,
            error.message};
}

grpc::Status status_of(const control::CommandResult& result) {
    switch (result.kind) {
        case control::CommandResult::Kind::done:
            return grpc::Status::OK;
        case control::CommandResult::Kind::unknown_server:
            return {grpc::StatusCode::NOT_FOUND, result.reason};
        case control::CommandResult::Kind::impossible:
            return {grpc::StatusCode::FAILED_PRECONDITION, result.reason};
        case control::CommandResult::Kind::not_stored:
            return {grpc::StatusCode::ABORTED, result.reason};
        case control::CommandResult::Kind::not_leading:
            return {grpc::StatusCode::UNAVAILABLE, result.reason, result.leader};
    }
    return {grpc::StatusCode::INTERNAL, result.reason};
}

grpc::Status busy() {
    return {grpc::StatusCode::RESOURCE_EXHAUSTED, "too many questions wait already; ask again"};
}

/// Of a presence server that does not lead: it knows of nothing.
grpc::Status not_leading(const State& state) {
    return {grpc::StatusCode::UNAVAILABLE,
            state.leader.empty()
                ? "this presence server does not lead, and knows of none that does; ask again"
                : "this presence server does not lead, " + state.leader + " does",
            state.leader};
}

/// "" asks for all.
bool is_question(const std::string& name) { return name.empty() || control::is_name(name); }

grpc::Status bad_name() {
    return {grpc::StatusCode::INVALID_ARGUMENT,
            "a name has at most 255 bytes, all printable ASCII"};
}

/// Fills `list` of the reply by `add` with what a query found.
template <typename Infos, typename Add>
grpc::Status answer(const Result<Infos>& infos, Add add) {
    if (!infos) {
        return status_of(infos.error());
    }
    for (const auto& info : *infos) {
        *add() = control::to_proto(info);
    }
    return grpc::Status::OK;
}

/// Streams the event log, and with `follow` what is added to it until the caller hangs up.
class EventStream final : public grpc::ServerWriteReactor<v1::Event>,
                          public Follower,
                          public std::enable_shared_from_this<EventStream> {
  public:
    EventStream(CoreThread& core, const v1::EventsRequest& request)
        : core_(core),
          stream_(request.stream()),
          is_following_(request.follow()),
          after_(request.after_sequence()) {}

    static EventStream* open(CoreThread& core, const v1::EventsRequest& request) {
        auto stream = std::make_shared<EventStream>(core, request);
        stream->self_ = stream;
        if (!is_question(request.stream())) {
            stream->finish(bad_name());
        } else {
            stream->look();
        }
        return stream.get();
    }

    void wake(const State& state, MonotonicTime now) override { take(state, now); }

    void OnWriteDone(bool ok) override {
        {
            const std::lock_guard lock(mutex_);
            is_writing_ = false;
            if (!ok || is_cancelled_) {
                finish_locked(grpc::Status::CANCELLED);
                return;
            }
            if (write_next()) {
                return;
            }
        }
        look();
    }

    void OnCancel() override {
        const std::lock_guard lock(mutex_);
        is_cancelled_ = true;
        if (!is_writing_) {
            finish_locked(grpc::Status::CANCELLED);
        }
    }

    void OnDone() override { self_.reset(); }

  private:
    void look() {
        const bool is_asked =
            core_.ask([self = shared_from_this()](const State& state, MonotonicTime now) {
                self->take(state, now);
            });
        if (!is_asked) {
            finish(busy());
        }
    }

    /// Thread: core.
    void take(const State& state, MonotonicTime now) {
        const std::lock_guard lock(mutex_);
        if (is_finished_) {
            return;
        }
        if (!state.leads) {
            finish_locked(not_leading(state));
            return;
        }
        for (const control::EventRecord& record :
             list_events(state, after_, stream_, kEventsAtOnce, now, unix_now())) {
            queue_.push_back(control::to_proto(record));
        }
        if (!queue_.empty()) {
            after_ = queue_.back().sequence();
            write_next();
            return;
        }
        after_ = state.events.newest();
        if (!is_following_) {
            finish_locked(grpc::Status::OK);
        } else if (!core_.follow(weak_from_this())) {
            finish_locked({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many follow the events"});
        }
    }

    /// Returns: false if there is nothing to write.
    bool write_next() {
        if (queue_.empty() || is_finished_) {
            return false;
        }
        outgoing_ = std::move(queue_.front());
        queue_.pop_front();
        is_writing_ = true;
        StartWrite(&outgoing_);
        return true;
    }

    void finish(const grpc::Status& status) {
        const std::lock_guard lock(mutex_);
        finish_locked(status);
    }
    void finish_locked(const grpc::Status& status) {
        if (!is_finished_) {
            is_finished_ = true;
            Finish(status);
        }
    }

    CoreThread& core_;
    const std::string stream_;
    const bool is_following_;
    std::shared_ptr<EventStream> self_;
    v1::Event outgoing_;

    std::mutex mutex_;  // guards all below
    std::uint64_t after_;
    std::deque<v1::Event> queue_;
    bool is_writing_ = false;
    bool is_cancelled_ = false;
    bool is_finished_ = false;
};

}  // namespace

class OperatorService::Service final : public v1::Operators::CallbackService {
  public:
    Service(CoreThread& core, const ByteCounters& bytes) : core_(core), bytes_(bytes) {}

    grpc::ServerUnaryReactor* ListServers(grpc::CallbackServerContext* context,
                                          const v1::ListServersRequest* request,
                                          v1::ListServersReply* reply) override {
        return ask(*context, request->name(), [=](const State& state, MonotonicTime now) {
            return answer(list_servers(state, request->name(), now),
                          [=] { return reply->add_servers(); });
        });
    }

    grpc::ServerUnaryReactor* ListStreams(grpc::CallbackServerContext* context,
                                          const v1::ListStreamsRequest* request,
                                          v1::ListStreamsReply* reply) override {
        return ask(*context, request->name(), [=](const State& state, MonotonicTime) {
            return answer(list_streams(state, request->name()),
                          [=] { return reply->add_streams(); });
        });
    }

    grpc::ServerUnaryReactor* ListConsumers(grpc::CallbackServerContext* context,
                                            const v1::ListConsumersRequest* request,
                                            v1::ListConsumersReply* reply) override {
        return ask(*context, request->stream(), [=](const State& state, MonotonicTime now) {
            return answer(list_consumers(state, request->stream(), now),
                          [=] { return reply->add_consumers(); });
        });
    }

    grpc::ServerUnaryReactor* Explain(grpc::CallbackServerContext* context,
                                      const v1::ExplainRequest* request,
                                      v1::ExplainReply* reply) override {
        return ask(*context, request->stream(), [=](const State& state, MonotonicTime now) {
            const Result<control::Explanation> explanation = explain(state, request->stream(), now);
            if (!explanation) {
                return status_of(explanation.error());
            }
            *reply = control::to_proto(*explanation);
            return grpc::Status::OK;
        });
    }

    grpc::ServerUnaryReactor* Status(grpc::CallbackServerContext* context,
                                     const v1::StatusRequest*,
                                     v1::StatusReply* reply) override {
        return ask(*context, "", [this, reply](const State& state, MonotonicTime now) {
            control::Status status = presence::status_of(state, now);
            status.bytes_received = bytes_.received;
            status.bytes_sent = bytes_.sent;
            status.version = PENSTOCK_VERSION;
            *reply = control::to_proto(status);
            return grpc::Status::OK;
        });
    }

    grpc::ServerUnaryReactor* PlanRebalance(grpc::CallbackServerContext* context,
                                            const v1::PlanRebalanceRequest*,
                                            v1::RebalancePlan* reply) override {
        return ask(*context, "", [=](const State& state, MonotonicTime now) {
            *reply = control::to_proto(plan_rebalance(state, now));
            return grpc::Status::OK;
        });
    }

    grpc::ServerUnaryReactor* SetServerDuty(grpc::CallbackServerContext* context,
                                            const v1::ServerDutyRequest* request,
                                            v1::ServerDutyReply*) override {
        grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
        const Result<control::ServerCommand> command = control::from_proto(*request);
        if (!command) {
            reactor->Finish({grpc::StatusCode::INVALID_ARGUMENT, command.error().message});
        } else if (!core_.command(*command, [reactor](const control::CommandResult& result) {
                       reactor->Finish(status_of(result));
                   })) {
            reactor->Finish(busy());
        }
        return reactor;
    }

    grpc::ServerWriteReactor<v1::Event>* Events(grpc::CallbackServerContext*,
                                                const v1::EventsRequest* request) override {
        return EventStream::open(core_, *request);
    }

  private:
    /// Has `query` fill the reply on the core thread. Request and reply live until Finish.
    template <typename Query>
    grpc::ServerUnaryReactor* ask(grpc::CallbackServerContext& context,
                                  const std::string& name,
                                  Query query) {
        grpc::ServerUnaryReactor* reactor = context.DefaultReactor();
        if (!is_question(name)) {
            reactor->Finish(bad_name());
        } else if (!core_.ask([reactor, query](const State& state, MonotonicTime now) {
                       reactor->Finish(state.leads ? query(state, now) : not_leading(state));
                   })) {
            reactor->Finish(busy());
        }
        return reactor;
    }

    CoreThread& core_;
    const ByteCounters& bytes_;
};

OperatorService::OperatorService(CoreThread& core, const ByteCounters& bytes)
    : service_(std::make_unique<Service>(core, bytes)) {}
OperatorService::~OperatorService() = default;

grpc::Service* OperatorService::service() { return service_.get(); }

}  // namespace penstock::presence
