#include "presence/operator_service.h"

#include "presence.pb.h"
#include "presence/queries.h"
#include "presence/rebalance.h"
#include "rpc/convert.h"

#include <grpcpp/support/status.h>

#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <utility>

namespace penstock::presence {
namespace {

constexpr std::size_t kEventsAtOnce = 200;
constexpr std::chrono::seconds kQuestionPatience{5}, kAnswerPatience{60};

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
    return {grpc::StatusCode::RESOURCE_EXHAUSTED, "too many commands wait already; ask again"};
}

grpc::Status unreadable() {
    return {grpc::StatusCode::INTERNAL, "this is no message of the protocol"};
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

}  // namespace

/// A call of an operator: one message, and what comes of it.
class OperatorService::OperatorCall : public control::CallHandler {
  public:
    OperatorCall(OperatorService& service, control::ServerCall& call)
        : service_(service), call_(call), opened_at_(monotonic_now()) {
        service_.calls_.insert(this);
    }

    void take(std::string_view message) final {
        if (!std::exchange(is_asked_, true)) {  // more are of no use
            asked(message);
        }
    }
    void end_of_messages() final {
        if (!is_asked_) {
            call_.finish(unreadable());
        }
    }
    void closed() override { service_.calls_.erase(this); }

    /// Breaks the call off if nothing was asked, or what was answered was not taken, for too long.
    void cancel_if_stuck(MonotonicTime now) {
        const std::chrono::seconds most = is_asked_ ? kAnswerPatience : kQuestionPatience;
        if (!is_endless() && now >= opened_at_ + most) {
            call_.cancel();
        }
    }

  protected:
    virtual void asked(std::string_view message) = 0;
    /// It goes on until the caller hangs up.
    [[nodiscard]] virtual bool is_endless() const { return false; }

    [[nodiscard]] CoreThread& core() const noexcept { return service_.core_; }
    [[nodiscard]] control::ServerCall& call() const noexcept { return call_; }

    /// Returns: whether `message` could be read.
    template <typename Request>
    bool parse(std::string_view message, Request& request) {
        if (request.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
            return true;
        }
        call_.finish(unreadable());
        return false;
    }

  private:
    OperatorService& service_;
    control::ServerCall& call_;
    const MonotonicTime opened_at_;
    bool is_asked_ = false;
};

/// A question, whose answer `ask` fills in when it is its turn.
template <typename Request, typename Reply, typename Ask>
class OperatorService::Question final : public OperatorCall, private Asker {
  public:
    Question(OperatorService& service, control::ServerCall& call, Ask ask)
        : OperatorCall(service, call), ask_(std::move(ask)) {}

    bool give(std::string& out) override {
        out += std::exchange(answer_, {});
        return std::exchange(has_answer_, false);
    }
    void closed() override {
        core().forget(*this);
        OperatorCall::closed();
    }

  private:
    void asked(std::string_view message) override {
        if (parse(message, request_) && !core().ask(*this)) {
            call().finish(busy());
        }
    }
    void look() override {
        Reply reply;
        const grpc::Status status = ask_(request_, reply);
        if (status.ok()) {
            reply.SerializeToString(&answer_);
            has_answer_ = true;
        }
        call().finish(status);
    }

    const Ask ask_;
    Request request_;
    std::string answer_;
    bool has_answer_ = false;
};

/// A command, answered when it is durable.
class OperatorService::Command final : public OperatorCall {
  public:
    Command(OperatorService& service, control::ServerCall& call)
        : OperatorCall(service, call), waiting_(std::make_shared<Waiting>(Waiting{&call})) {}

    bool give(std::string& out) override {
        v1::ServerDutyReply().AppendToString(&out);
        return std::exchange(waiting_->is_done, false);
    }
    void closed() override {
        waiting_->call = nullptr;
        OperatorCall::closed();
    }

  private:
    /// Outlives the call if that ends before the answer.
    struct Waiting {
        control::ServerCall* call = nullptr;
        bool is_done = false;

        void answer(const grpc::Status& status) {
            if (call != nullptr) {
                is_done = status.ok();
                call->finish(status);
            }
        }
    };

    void asked(std::string_view message) override {
        v1::ServerDutyRequest request;
        if (!parse(message, request)) {
            return;
        }
        const Result<control::ServerCommand> command = control::from_proto(request);
        if (!command) {
            call().finish({grpc::StatusCode::INVALID_ARGUMENT, command.error().message});
        } else if (!core().command(*command,
                                   [waiting = waiting_](const control::CommandResult& result) {
                                       waiting->answer(status_of(result));
                                   })) {
            call().finish(busy());
        }
    }

    const std::shared_ptr<Waiting> waiting_;
};

/// Streams the event log, and with `follow` what is added to it until the caller hangs up.
class OperatorService::EventStream final : public OperatorCall, private Follower {
  public:
    using OperatorCall::OperatorCall;

    bool give(std::string& out) override {
        if (!is_reading_ || (queue_.empty() && !look())) {
            return false;
        }
        queue_.front().AppendToString(&out);
        queue_.pop_front();
        return true;
    }
    void closed() override {
        core().unfollow(*this);
        OperatorCall::closed();
    }

  private:
    void wake() override { call().wake(); }
    [[nodiscard]] bool is_endless() const override { return is_following_; }

    void asked(std::string_view message) override {
        v1::EventsRequest request;
        if (!parse(message, request)) {
            return;
        }
        if (!is_question(request.stream())) {
            call().finish(bad_name());
            return;
        }
        stream_ = request.stream();
        is_following_ = request.follow();
        after_ = request.after_sequence();
        is_reading_ = true;
        call().wake();
    }

    /// Fills the queue. Returns: false if there is nothing now.
    bool look() {
        const State& state = core().state();
        if (!state.leads) {
            call().finish(not_leading(state));
            return false;
        }
        for (const control::EventRecord& record :
             list_events(state, after_, stream_, kEventsAtOnce, monotonic_now(), unix_now())) {
            queue_.push_back(control::to_proto(record));
        }
        if (!queue_.empty()) {
            after_ = queue_.back().sequence();
            return true;
        }
        after_ = state.events.newest();
        if (!is_following_) {
            call().finish(grpc::Status::OK);
            return false;
        }
        core().unfollow(*this);
        if (!core().follow(*this)) {
            call().finish({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many follow the events"});
        }
        return false;
    }

    std::string stream_;
    bool is_following_ = false;
    bool is_reading_ = false;
    std::uint64_t after_ = 0;
    std::deque<v1::Event> queue_;
};

OperatorService::OperatorService(CoreThread& core, const ByteCounters& bytes)
    : core_(core), bytes_(bytes) {}

/// Has `query(state, now, request, reply)` answer, if we lead.
template <typename Request, typename Reply, typename Query>
std::unique_ptr<control::CallHandler> OperatorService::ask(control::ServerCall& call, Query query) {
    const auto answer = [this, query](const Request& request, Reply& reply) {
        const State& state = core_.state();
        return state.leads ? query(state, monotonic_now(), request, reply) : not_leading(state);
    };
    return std::make_unique<Question<Request, Reply, decltype(answer)>>(*this, call, answer);
}

std::unique_ptr<control::CallHandler> OperatorService::open(std::string_view method,
                                                            control::ServerCall& call) {
    constexpr std::string_view kService = "/penstock.v1.Operators/";
    if (!method.starts_with(kService)) {
        return nullptr;
    }
    if (calls_.size() >= kCallsMax) {
        call.finish(
            {grpc::StatusCode::RESOURCE_EXHAUSTED, "too many calls of operators; ask again"});
        return nullptr;
    }
    method.remove_prefix(kService.size());
    if (method == "ListServers") {
        return list_servers(call);
    }
    if (method == "ListStreams") {
        return list_streams(call);
    }
    if (method == "ListConsumers") {
        return list_consumers(call);
    }
    if (method == "Explain") {
        return explain(call);
    }
    if (method == "Status") {
        return status(call);
    }
    if (method == "PlanRebalance") {
        return plan_rebalance(call);
    }
    if (method == "SetServerDuty") {
        return std::make_unique<Command>(*this, call);
    }
    if (method == "Events") {
        return std::make_unique<EventStream>(*this, call);
    }
    return nullptr;
}

void OperatorService::sweep(MonotonicTime now) {
    for (OperatorCall* const call : calls_) {
        call->cancel_if_stuck(now);
    }
}

std::unique_ptr<control::CallHandler> OperatorService::list_servers(control::ServerCall& call) {
    return ask<v1::ListServersRequest, v1::ListServersReply>(
        call, [](const State& state, MonotonicTime now, const auto& request, auto& reply) {
            return is_question(request.name())
                       ? answer(presence::list_servers(state, request.name(), now),
                                [&] { return reply.add_servers(); })
                       : bad_name();
        });
}

std::unique_ptr<control::CallHandler> OperatorService::list_streams(control::ServerCall& call) {
    return ask<v1::ListStreamsRequest, v1::ListStreamsReply>(
        call, [](const State& state, MonotonicTime, const auto& request, auto& reply) {
            return is_question(request.name())
                       ? answer(presence::list_streams(state, request.name()),
                                [&] { return reply.add_streams(); })
                       : bad_name();
        });
}

std::unique_ptr<control::CallHandler> OperatorService::list_consumers(control::ServerCall& call) {
    return ask<v1::ListConsumersRequest, v1::ListConsumersReply>(
        call, [](const State& state, MonotonicTime now, const auto& request, auto& reply) {
            return is_question(request.stream())
                       ? answer(presence::list_consumers(state, request.stream(), now),
                                [&] { return reply.add_consumers(); })
                       : bad_name();
        });
}

std::unique_ptr<control::CallHandler> OperatorService::explain(control::ServerCall& call) {
    return ask<v1::ExplainRequest, v1::ExplainReply>(
        call, [](const State& state, MonotonicTime now, const auto& request, auto& reply) {
            if (!is_question(request.stream())) {
                return bad_name();
            }
            const Result<control::Explanation> explanation =
                presence::explain(state, request.stream(), now);
            if (!explanation) {
                return status_of(explanation.error());
            }
            reply = control::to_proto(*explanation);
            return grpc::Status();
        });
}

std::unique_ptr<control::CallHandler> OperatorService::status(control::ServerCall& call) {
    return ask<v1::StatusRequest, v1::StatusReply>(
        call, [this](const State& state, MonotonicTime now, const auto& /*request*/, auto& reply) {
            control::Status status = presence::status_of(state, now);
            status.bytes_received = bytes_.received;
            status.bytes_sent = bytes_.sent;
            status.version = PENSTOCK_VERSION;
            reply = control::to_proto(status);
            return grpc::Status();
        });
}

std::unique_ptr<control::CallHandler> OperatorService::plan_rebalance(control::ServerCall& call) {
    return ask<v1::PlanRebalanceRequest, v1::RebalancePlan>(
        call, [](const State& state, MonotonicTime now, const auto& /*request*/, auto& reply) {
            reply = control::to_proto(presence::plan_rebalance(state, now));
            return grpc::Status();
        });
}

}  // namespace penstock::presence
