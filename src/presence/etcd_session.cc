#include "presence/etcd_session.h"

#include "base/clock.h"
#include "etcd.grpc.pb.h"
#include "rpc/tls.h"

#include <fmt/format.h>
#include <grpc/support/log.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <thread>
#include <utility>

namespace penstock::presence {
namespace {

using etcdserverpb::Compare;
using std::chrono::milliseconds;

// Finding out why TLS fails must not cost a leader its lease.
constexpr milliseconds kTlsQuestionMost{200};
// Of all members together, where nothing hangs on it.
constexpr milliseconds kAllCallsMost{5'000};

constexpr std::string_view kTlsOptions = "etcd";  // --etcd-ca, ...

constexpr int kAnswerBytesMax = 4 << 20;  // facts of the most data servers have 300 KiB

grpc::ChannelArguments channel_arguments() {
    grpc::ChannelArguments arguments;
    // A member that was away is to be found again at once: the pauses are ours.
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 200);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    arguments.SetMaxReceiveMessageSize(kAnswerBytesMax);
    return arguments;
}

std::optional<KeyValue> first_of(const etcdserverpb::RangeResponse& range) {
    if (range.kvs_size() == 0) {
        return std::nullopt;
    }
    const etcdserverpb::KeyValue& found = range.kvs(0);
    return KeyValue{found.value(), found.create_revision(), found.mod_revision(), found.lease()};
}

Error nonsense(const std::string& member, const std::string& what) {
    return {ErrorCode::system, fmt::format("etcd {}: {}", member, what)};
}

/// Has gRPC look after connections all the time: of itself it does only as long as somebody waits
/// for an answer, so that none comes about that takes longer than a call.
class ConnectionKeeper {
  public:
    ConnectionKeeper() : thread_([this] { run(); }) {}
    ~ConnectionKeeper() {
        queue_.Shutdown();
        thread_.join();
    }
    ConnectionKeeper(const ConnectionKeeper&) = delete;
    ConnectionKeeper& operator=(const ConnectionKeeper&) = delete;

  private:
    void run() {
        void* nothing = nullptr;
        bool ok = false;
        while (queue_.Next(&nothing, &ok)) {  // until it is shut down: nobody puts anything in
        }
    }

    grpc::CompletionQueue queue_;
    std::thread thread_;  // last: it uses the other
};

}  // namespace

struct EtcdSession::Members {
    struct Member {
        std::string address;
        std::unique_ptr<etcdserverpb::KV::Stub> keys;
        std::unique_ptr<etcdserverpb::Lease::Stub> leases;
    };

    TlsFiles tls;
    ConnectionKeeper keeper;
    std::vector<Member> all;
    std::size_t present = 0;  // answered last
    std::string leader_key;
    std::string facts_key;

    /// `call` with one member after another until one answers, for `most` at the most.
    /// Errors: of the last one.
    template <typename Call>
    Result<std::string> ask(Call call, milliseconds most = kAllCallsMost) {
        const MonotonicTime until = monotonic_now() + most;
        const auto left = [&] { return std::chrono::floor<milliseconds>(until - monotonic_now()); };
        grpc::Status status;
        const Member* failed = nullptr;
        for (std::size_t tried = 0; tried < all.size() && left().count() > 0; ++tried) {
            Member& member = all[present];
            grpc::ClientContext context;
            context.set_deadline(std::chrono::system_clock::now() + std::min(left(), kCallMost));
            status = call(member, context);
            if (status.ok()) {
                return member.address;
            }
            failed = &member;
            present = (present + 1) % all.size();
        }
        if (failed == nullptr) {
            return Error{ErrorCode::timed_out, "etcd: no time is left to ask it"};
        }
        // Only now, and in the time that is left: while others can be asked, that comes first.
        return Error{status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED
                         ? ErrorCode::timed_out
                         : ErrorCode::unavailable,
                     fmt::format("etcd {}: {}",
                                 failed->address,
                                 control::why_failed(status,
                                                     failed->address,
                                                     tls,
                                                     kTlsOptions,
                                                     std::min(left(), kTlsQuestionMost)))};
    }

    void add_reads(etcdserverpb::TxnRequest& request, bool is_success) const {
        for (const std::string& key : {leader_key, facts_key}) {
            auto& operation = is_success ? *request.add_success() : *request.add_failure();
            operation.mutable_request_range()->set_key(key);
        }
    }

    /// The keys that the last two operations of the transaction read.
    Result<ElectionKeys> transact(const etcdserverpb::TxnRequest& request,
                                  milliseconds most = kAllCallsMost) {
        etcdserverpb::TxnResponse response;
        const auto member = ask(
            [&](Member& one, grpc::ClientContext& context) {
                return one.keys->Txn(&context, request, &response);
            },
            most);
        if (!member) {
            return member.error();
        }
        const int count = response.responses_size();
        const int wanted = response.succeeded() ? request.success_size() : request.failure_size();
        if (count != wanted || count < 2 || !response.responses(count - 2).has_response_range() ||
            !response.responses(count - 1).has_response_range()) {
            return nonsense(*member, "the answer to a transaction is of another one");
        }
        return ElectionKeys{first_of(response.responses(count - 2).response_range()),
                            first_of(response.responses(count - 1).response_range())};
    }
};

Result<std::unique_ptr<EtcdSession>> EtcdSession::open(std::vector<std::string> members,
                                                       const std::string& prefix,
                                                       const TlsFiles& tls) {
    gpr_set_log_function([](gpr_log_func_args*) {});  // errors are ours to say, in one line
    const auto credentials = control::channel_credentials(tls, kTlsOptions);
    if (!credentials) {
        return credentials.error();
    }
    auto made = std::make_unique<Members>();
    made->tls = tls;
    made->leader_key = prefix + "/leader";
    made->facts_key = prefix + "/facts";
    for (std::string& address : members) {
        const auto channel = grpc::CreateCustomChannel(address, *credentials, channel_arguments());
        made->all.push_back({std::move(address),
                             etcdserverpb::KV::NewStub(channel),
                             etcdserverpb::Lease::NewStub(channel)});
    }
    return std::unique_ptr<EtcdSession>(new EtcdSession(std::move(made)));
}

EtcdSession::EtcdSession(std::unique_ptr<Members> members) : members_(std::move(members)) {}

EtcdSession::~EtcdSession() = default;

Result<LeaseTerms> EtcdSession::grant(std::chrono::seconds length) {
    etcdserverpb::LeaseGrantRequest request;
    etcdserverpb::LeaseGrantResponse response;
    request.set_ttl(length.count());
    const auto member = members_->ask([&](Members::Member& one, grpc::ClientContext& context) {
        return one.leases->LeaseGrant(&context, request, &response);
    });
    if (!member) {
        return member.error();
    }
    if (!response.error().empty() || response.id() == 0 || response.ttl() < length.count()) {
        return nonsense(*member,
                        fmt::format("it grants no lease of {} s: id {}, {} s {}",
                                    length.count(),
                                    response.id(),
                                    response.ttl(),
                                    response.error()));
    }
    return LeaseTerms{response.id(), std::chrono::seconds(response.ttl())};
}

Result<std::optional<LeaseTerms>> EtcdSession::keep_alive(std::int64_t lease, milliseconds most) {
    etcdserverpb::LeaseKeepAliveRequest request;
    etcdserverpb::LeaseKeepAliveResponse response;
    request.set_id(lease);
    const auto renew = [&](Members::Member& one, grpc::ClientContext& context) {
        const auto call = one.leases->LeaseKeepAlive(&context);
        const bool is_answered =
            call->Write(request) && call->WritesDone() && call->Read(&response);
        const grpc::Status status = call->Finish();
        return is_answered   ? grpc::Status::OK
               : status.ok() ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "it hung up")
                             : status;
    };
    const auto member = members_->ask(renew, most);
    if (!member) {
        return member.error();
    }
    if (response.id() != lease) {
        return nonsense(*member, "it keeps another lease alive than ours");
    }
    if (response.ttl() <= 0) {
        return std::optional<LeaseTerms>();
    }
    return std::optional(LeaseTerms{lease, std::chrono::seconds(response.ttl())});
}

Result<void> EtcdSession::revoke(std::int64_t lease) {
    etcdserverpb::LeaseRevokeRequest request;
    etcdserverpb::LeaseRevokeResponse response;
    request.set_id(lease);
    const auto member = members_->ask([&](Members::Member& one, grpc::ClientContext& context) {
        return one.leases->LeaseRevoke(&context, request, &response);
    });
    return member ? Result<void>() : Result<void>(member.error());
}

Result<ElectionKeys> EtcdSession::read(milliseconds most) {
    etcdserverpb::TxnRequest request;  // without a condition: both keys of one revision
    members_->add_reads(request, true);
    return members_->transact(request, most);
}

Result<ElectionKeys> EtcdSession::campaign(const std::string& address, std::int64_t lease) {
    etcdserverpb::TxnRequest request;
    Compare& is_vacant = *request.add_compare();
    is_vacant.set_target(Compare::CREATE);
    is_vacant.set_key(members_->leader_key);
    is_vacant.set_create_revision(0);
    etcdserverpb::PutRequest& put = *request.add_success()->mutable_request_put();
    put.set_key(members_->leader_key);
    put.set_value(address);
    put.set_lease(lease);
    members_->add_reads(request, true);
    members_->add_reads(request, false);
    return members_->transact(request);
}

Result<ElectionKeys> EtcdSession::write_facts(const std::string& text,
                                              std::int64_t create_revision,
                                              std::int64_t mod_revision) {
    etcdserverpb::TxnRequest request;
    Compare& is_ours = *request.add_compare();
    is_ours.set_target(Compare::CREATE);
    is_ours.set_key(members_->leader_key);
    is_ours.set_create_revision(create_revision);
    Compare& is_unchanged = *request.add_compare();
    is_unchanged.set_target(Compare::MOD);
    is_unchanged.set_key(members_->facts_key);
    is_unchanged.set_mod_revision(mod_revision);
    etcdserverpb::PutRequest& put = *request.add_success()->mutable_request_put();
    put.set_key(members_->facts_key);
    put.set_value(text);
    members_->add_reads(request, true);
    members_->add_reads(request, false);
    return members_->transact(request);
}

}  // namespace penstock::presence
