#include "penstockctl/commands.h"

#include "penstockctl/json_of.h"
#include "penstockctl/print.h"
#include "presence.grpc.pb.h"
#include "rpc/tls.h"

#include <fmt/format.h>
#include <grpc/support/log.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdio>
#include <deque>
#include <memory>
#include <string_view>
#include <thread>
#include <utility>

namespace penstock::ctl {

const char* const kUsage =
    "server list | server show NAME | server cordon NAME | server uncordon NAME | "
    "server drain NAME [--deadline 5m] | stream list | stream show NAME | consumer list [STREAM] | "
    "explain STREAM | rebalance plan | events | status";

namespace {

constexpr std::chrono::seconds kDeadline{3};
constexpr std::chrono::milliseconds kDrainLook{200};
// After its deadline a drain moves what is left at once, and data servers have to close it.
constexpr std::chrono::seconds kDrainGrace{30};
constexpr int kReplyBytesMax = 64 << 20;  // of a list of everything

void silence(gpr_log_func_args*) {}

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

template <typename Message>
void print_json(const Message& message) {
    JsonWriter json;
    append_json(json, message);
    print(json.text() + "\n");
}

template <typename Messages>
void print_json_array(const Messages& messages) {
    JsonWriter json;
    json.begin_array();
    for (const auto& message : messages) {
        append_json(json, message);
    }
    json.end_array();
    print(json.text() + "\n");
}

class Commands {
  public:
    Commands(const Request& request,
             std::string presence,
             const std::shared_ptr<grpc::ChannelCredentials>& credentials)
        : request_(request), presence_(std::move(presence)) {
        // Errors are ours to say, in one line.
        gpr_set_log_function(silence);
        grpc::ChannelArguments arguments;
        arguments.SetMaxReceiveMessageSize(kReplyBytesMax);
        stub_ =
            v1::Operators::NewStub(grpc::CreateCustomChannel(presence_, credentials, arguments));
    }

    Result<void> servers(const std::string& name, bool is_list) {
        v1::ListServersRequest question;
        v1::ListServersReply reply;
        question.set_name(name);
        return ask(&v1::Operators::Stub::ListServers, question, reply, [&] {
            show(reply, reply.servers(), is_list);
        });
    }

    Result<void> set_duty(const std::string& name, v1::ServerDuty duty) {
        v1::ServerDutyRequest command;
        v1::ServerDutyReply reply;
        command.set_name(name);
        command.set_duty(duty);
        command.set_deadline_ms(static_cast<std::uint64_t>(
            std::chrono::duration_cast<std::chrono::milliseconds>(request_.deadline).count()));
        return ask(&v1::Operators::Stub::SetServerDuty, command, reply, [] {});
    }

    Result<void> look(const std::string& name, v1::ListServersReply& reply) {
        v1::ListServersRequest question;
        question.set_name(name);
        return ask(&v1::Operators::Stub::ListServers, question, reply, [] {});
    }

    Result<void> streams(const std::string& name, bool is_list) {
        v1::ListStreamsRequest question;
        v1::ListStreamsReply reply;
        question.set_name(name);
        return ask(&v1::Operators::Stub::ListStreams, question, reply, [&] {
            show(reply, reply.streams(), is_list);
        });
    }

    Result<void> consumers(const std::string& stream) {
        v1::ListConsumersRequest question;
        v1::ListConsumersReply reply;
        question.set_stream(stream);
        return ask(&v1::Operators::Stub::ListConsumers, question, reply, [&] {
            request_.is_json ? print_json_array(reply.consumers()) : print(table_of(reply));
        });
    }

    Result<void> explain(const std::string& stream) {
        v1::ExplainRequest question;
        v1::ExplainReply reply;
        question.set_stream(stream);
        return ask(&v1::Operators::Stub::Explain, question, reply, [&] {
            request_.is_json ? print_json(reply) : print(page_of(reply));
        });
    }

    Result<void> rebalance_plan() {
        v1::RebalancePlan reply;
        return ask(&v1::Operators::Stub::PlanRebalance, v1::PlanRebalanceRequest(), reply, [&] {
            request_.is_json ? print_json(reply) : print(page_of(reply));
        });
    }

    Result<void> status() {
        v1::StatusReply reply;
        return ask(&v1::Operators::Stub::Status, v1::StatusRequest(), reply, [&] {
            request_.is_json ? print_json(reply) : print(page_of(reply));
        });
    }

    Result<void> events() {
        grpc::ClientContext context;
        if (!request_.is_following) {
            context.set_deadline(std::chrono::system_clock::now() + kDeadline);
        }
        v1::EventsRequest question;
        question.set_follow(request_.is_following);
        question.set_stream(request_.stream);
        const auto reader = stub_->Events(&context, question);
        v1::Event event;
        while (reader->Read(&event)) {
            request_.is_json ? print_json(event) : print(line_of(event));
            std::fflush(stdout);
        }
        return result_of(reader->Finish());
    }

  private:
    template <typename Method, typename Question, typename Reply, typename Show>
    Result<void> ask(Method method, const Question& question, Reply& reply, Show show) {
        grpc::ClientContext context;
        context.set_deadline(std::chrono::system_clock::now() + kDeadline);
        const grpc::Status status = ((*stub_).*method)(&context, question, &reply);
        if (status.ok()) {
            show();
        }
        return result_of(status);
    }

    template <typename Reply, typename Infos>
    void show(const Reply& reply, const Infos& infos, bool is_list) {
        if (is_list) {
            request_.is_json ? print_json_array(infos) : print(table_of(reply));
        } else {
            request_.is_json ? print_json(infos.Get(0)) : print(page_of(infos.Get(0)));
        }
    }

    [[nodiscard]] Result<void> result_of(const grpc::Status& status) const {
        switch (status.error_code()) {
            case grpc::StatusCode::OK:
                return {};
            case grpc::StatusCode::UNAVAILABLE:
                if (!status.error_details().empty()) {
                    return Error{ErrorCode::unavailable, presence_ + ": " + status.error_message()};
                }
                return Error{ErrorCode::unavailable,
                             fmt::format("presence at {} cannot be reached: {}; see --presence",
                                         presence_,
                                         control::why_failed(status, presence_, request_.tls))};
            case grpc::StatusCode::DEADLINE_EXCEEDED:
                return Error{ErrorCode::timed_out,
                             fmt::format("presence at {} did not answer within 3 s", presence_)};
            default:
                return Error{ErrorCode::not_found, status.error_message()};
        }
    }

    const Request& request_;
    const std::string presence_;
    std::unique_ptr<v1::Operators::Stub> stub_;
};

/// Asks one presence server after the other until one answers.
template <typename Question>
Result<void> ask_in_turn(std::deque<Commands>& presences, Question question) {
    Result<void> done;
    for (Commands& presence : presences) {
        done = question(presence);
        if (done || (done.error().code != ErrorCode::unavailable &&
                     done.error().code != ErrorCode::timed_out)) {
            break;
        }
    }
    return done;
}

/// Why a drain has not ended. `seen`: how the last look went, and what it showed.
Error not_drained(const std::string& name,
                  const Result<void>& seen,
                  const v1::ListServersReply& reply) {
    if (!seen) {
        return seen.error();
    }
    if (reply.servers(0).state() == "gone") {
        return {ErrorCode::timed_out,
                fmt::format("{} is not attached and may still relay; see that it reaches presence, "
                            "or stop it",
                            name)};
    }
    return {ErrorCode::timed_out,
            fmt::format("{} still has {} streams; see `penstockctl events`, or give it longer with "
                        "--deadline",
                        name,
                        reply.servers(0).streams())};
}

/// Returns once nothing is on the data server. It, or whoever leads, may be away meanwhile.
Result<void> drain(std::deque<Commands>& presences,
                   const Request& request,
                   const std::string& name) {
    using Clock = std::chrono::steady_clock;
    const auto begun = ask_in_turn(presences, [&](Commands& presence) {
        return presence.set_duty(name, v1::SERVER_DUTY_DRAINING);
    });
    if (!begun) {
        return begun;
    }
    const Clock::time_point end = Clock::now() + request.deadline + kDrainGrace;
    while (true) {
        v1::ListServersReply reply;
        const auto seen =
            ask_in_turn(presences, [&](Commands& presence) { return presence.look(name, reply); });
        const std::string state = seen ? reply.servers(0).state() : "";
        if (state == "drained") {
            request.is_json ? print_json(reply.servers(0))
                            : print(fmt::format("{} is drained\n", name));
            return {};
        }
        if (seen && state != "draining" && state != "gone") {
            return Error{ErrorCode::denied,
                         fmt::format("the drain of {} was taken back: it is {}", name, state)};
        }
        if (Clock::now() >= end) {
            return not_drained(name, seen, reply);
        }
        std::this_thread::sleep_for(kDrainLook);
    }
}

Result<void> run_at(Commands& commands, const Request& request) {
    const std::vector<std::string>& words = request.words;
    const auto is = [&](std::initializer_list<std::string_view> wanted, std::size_t names) {
        return words.size() == wanted.size() + names &&
               std::equal(wanted.begin(), wanted.end(), words.begin());
    };
    if (is({"server", "list"}, 0)) {
        return commands.servers("", true);
    }
    if (is({"server", "show"}, 1)) {
        return commands.servers(words[2], false);
    }
    if (is({"server", "cordon"}, 1)) {
        const auto done = commands.set_duty(words[2], v1::SERVER_DUTY_CORDONED);
        return done ? commands.servers(words[2], false) : done;
    }
    if (is({"server", "uncordon"}, 1)) {
        const auto done = commands.set_duty(words[2], v1::SERVER_DUTY_NONE);
        return done ? commands.servers(words[2], false) : done;
    }
    if (is({"stream", "list"}, 0)) {
        return commands.streams("", true);
    }
    if (is({"stream", "show"}, 1)) {
        return commands.streams(words[2], false);
    }
    if (is({"consumer", "list"}, 0) || is({"consumer", "list"}, 1)) {
        return commands.consumers(words.size() == 3 ? words[2] : "");
    }
    if (is({"explain"}, 1)) {
        return commands.explain(words[1]);
    }
    if (is({"rebalance", "plan"}, 0)) {
        return commands.rebalance_plan();
    }
    if (is({"events"}, 0)) {
        return commands.events();
    }
    if (is({"status"}, 0)) {
        return commands.status();
    }
    std::string asked;
    for (const std::string& word : words) {
        asked += (asked.empty() ? "" : " ") + word;
    }
    return Error{ErrorCode::invalid_argument,
                 fmt::format("no such command: '{}'; say {}", asked, kUsage)};
}

}  // namespace

Result<void> run(const Request& request) {
    const auto credentials = control::channel_credentials(request.tls);
    if (!credentials) {
        return credentials.error();
    }
    std::deque<Commands> presences;
    for (const std::string& presence : request.presence) {
        presences.emplace_back(request, presence, *credentials);
    }
    const std::vector<std::string>& words = request.words;
    if (words.size() == 3 && words[0] == "server" && words[1] == "drain") {
        return drain(presences, request, words[2]);
    }
    return ask_in_turn(presences, [&](Commands& presence) { return run_at(presence, request); });
}

}  // namespace penstock::ctl
