#include "presence/etcd_session.h"

#include "etcd.grpc.pb.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace penstock::presence {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

/// A member of etcd that answers what the test says. Only what no real one does is tested with it.
class ScriptedMember final : public etcdserverpb::KV::Service, public etcdserverpb::Lease::Service {
  public:
    ScriptedMember() {
        grpc::ServerBuilder builder;
        builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
        builder.RegisterService(static_cast<etcdserverpb::KV::Service*>(this));
        builder.RegisterService(static_cast<etcdserverpb::Lease::Service*>(this));
        server_ = builder.BuildAndStart();
    }
    ~ScriptedMember() override { server_->Shutdown(std::chrono::system_clock::now()); }
    ScriptedMember(const ScriptedMember&) = delete;
    ScriptedMember& operator=(const ScriptedMember&) = delete;

    [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

    grpc::Status Txn(grpc::ServerContext*,
                     const etcdserverpb::TxnRequest*,
                     etcdserverpb::TxnResponse* response) override {
        *response = transaction;
        return status;
    }
    grpc::Status LeaseGrant(grpc::ServerContext*,
                            const etcdserverpb::LeaseGrantRequest*,
                            etcdserverpb::LeaseGrantResponse* response) override {
        *response = granted;
        return status;
    }
    grpc::Status LeaseKeepAlive(
        grpc::ServerContext*,
        grpc::ServerReaderWriter<etcdserverpb::LeaseKeepAliveResponse,
                                 etcdserverpb::LeaseKeepAliveRequest>* stream) override {
        etcdserverpb::LeaseKeepAliveRequest request;
        if (stream->Read(&request) && kept.id() != 0) {
            stream->Write(kept);
        }
        return status;
    }

    // What it answers. Set before it is asked.
    grpc::Status status;
    etcdserverpb::TxnResponse transaction;
    etcdserverpb::LeaseGrantResponse granted;
    etcdserverpb::LeaseKeepAliveResponse kept;

  private:
    int port_ = 0;
    std::unique_ptr<grpc::Server> server_;
};

std::unique_ptr<EtcdSession> session_with(std::vector<std::string> members) {
    return std::move(EtcdSession::open(std::move(members), "/penstock", {})).value();
}

class EtcdSessionTest : public testing::Test {
  protected:
    ScriptedMember member_;
    std::unique_ptr<EtcdSession> session_ = session_with({member_.address()});
};

TEST_F(EtcdSessionTest, TakesNoAnswerToATransactionItDidNotAsk) {
    EXPECT_THAT(session_->read(5s).error().message, HasSubstr("is of another one"))
        << "none at all";
    member_.transaction.set_succeeded(true);
    member_.transaction.add_responses()->mutable_response_put();
    member_.transaction.add_responses()->mutable_response_put();
    EXPECT_THAT(session_->read(5s).error().message, HasSubstr("is of another one"));
    EXPECT_THAT(session_->campaign("a:1", 7).error().message, HasSubstr("is of another one"));
    EXPECT_THAT(session_->write_facts("", 1, 0).error().message, HasSubstr("is of another one"));
}

TEST_F(EtcdSessionTest, ReadsTheTwoKeysInTheirOrder) {
    member_.transaction.set_succeeded(true);
    auto& leader = *member_.transaction.add_responses()->mutable_response_range()->add_kvs();
    leader.set_value("10.0.0.1:7400");
    leader.set_create_revision(41);
    leader.set_lease(9);
    member_.transaction.add_responses()->mutable_response_range();
    const auto keys = session_->read(5s);
    ASSERT_TRUE(keys.ok());
    EXPECT_EQ(keys->leader->value, "10.0.0.1:7400");
    EXPECT_EQ(keys->leader->create_revision, 41);
    EXPECT_EQ(keys->leader->lease, 9);
    EXPECT_FALSE(keys->facts.has_value());
}

TEST_F(EtcdSessionTest, TakesNoLeaseThatIsNoneOrTooShort) {
    EXPECT_THAT(session_->grant(3s).error().message, HasSubstr("grants no lease of 3 s"));
    member_.granted.set_id(7);
    member_.granted.set_ttl(2);
    EXPECT_THAT(session_->grant(3s).error().message, HasSubstr("grants no lease of 3 s"));
    member_.granted.set_ttl(3);
    EXPECT_EQ(session_->grant(3s)->id, 7);
    member_.granted.set_error("no space");
    EXPECT_THAT(session_->grant(3s).error().message, HasSubstr("no space"));
}

TEST_F(EtcdSessionTest, KnowsALeaseThatIsGoneFromAMemberThatDoesNotAnswer) {
    EXPECT_FALSE(session_->keep_alive(7, 5s).ok()) << "it hung up";
    member_.kept.set_id(8);
    member_.kept.set_ttl(3);
    EXPECT_THAT(session_->keep_alive(7, 5s).error().message,
                HasSubstr("another lease alive than ours"));
    member_.kept.set_id(7);
    EXPECT_EQ((*session_->keep_alive(7, 5s))->length, 3s);
    member_.kept.set_ttl(0);
    const auto gone = session_->keep_alive(7, 5s);
    ASSERT_TRUE(gone.ok());
    EXPECT_FALSE(gone->has_value());
}

TEST_F(EtcdSessionTest, SaysWhichMemberRefusedAndWhy) {
    member_.status = {grpc::StatusCode::UNAVAILABLE, "etcdserver: no leader"};
    EXPECT_EQ(session_->read(5s).error().message, "etcd " + member_.address() + ": no leader");
}

TEST_F(EtcdSessionTest, AsksTheNextMemberWhenOneDoesNotAnswer) {
    member_.granted.set_id(7);
    member_.granted.set_ttl(3);
    const auto session = session_with({"127.0.0.1:1", member_.address()});
    EXPECT_TRUE(session->grant(3s).ok());
}

}  // namespace
}  // namespace penstock::presence
