#include "rpc/tls.h"

#include "presence.grpc.pb.h"
#include "rpc/grpc_server.h"
#include "support/silent_listener.h"
#include "support/test_certificates.h"

#include <gmock/gmock.h>
#include <grpc/support/log.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <sys/stat.h>
#include <thread>

namespace penstock::control {
namespace {

using namespace std::chrono_literals;
using test::TestAuthority;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

/// A directory that goes with the test.
class Directory {
  public:
    Directory() {
        std::string name = (std::filesystem::temp_directory_path() / "tls_test_XXXXXX").string();
        path_ = ::mkdtemp(name.data());
    }
    ~Directory() { std::filesystem::remove_all(path_); }
    Directory(const Directory&) = delete;
    Directory& operator=(const Directory&) = delete;

    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
    [[nodiscard]] std::string file(const std::string& name) const {
        return (path_ / name).string();
    }

  private:
    std::filesystem::path path_;
};

std::string trouble_of(const Result<void>& result) { return result ? "" : result.error().message; }

class TlsFilesTest : public testing::Test {
  protected:
    [[nodiscard]] static std::string of_caller(const TlsFiles& files) {
        return trouble_of(check_tls(files, false));
    }
    [[nodiscard]] static std::string of_server(const TlsFiles& files) {
        return trouble_of(check_tls(files, true));
    }

    Directory directory_;
    TestAuthority authority_{directory_.path(), "authority"};
    TlsFiles good_ = authority_.issue("good");
};

TEST_F(TlsFilesTest, AreGoodAtBothEnds) {
    EXPECT_THAT(of_caller(good_), IsEmpty());
    EXPECT_THAT(of_server(good_), IsEmpty());
    EXPECT_THAT(of_caller({}), IsEmpty());
    EXPECT_THAT(of_server({}), IsEmpty());
    EXPECT_THAT(of_caller({good_.authority, "", ""}), IsEmpty()) << "presence may demand none";
    EXPECT_THAT(of_server({"", good_.certificate, good_.key}), IsEmpty()) << "demands none";
}

TEST_F(TlsFilesTest, GoTogether) {
    EXPECT_THAT(of_caller({good_.authority, good_.certificate, ""}),
                StartsWith("--tls-cert is given without --tls-key"));
    EXPECT_THAT(of_server({"", "", good_.key}),
                StartsWith("--tls-key is given without --tls-cert"));
    EXPECT_THAT(of_caller({"", good_.certificate, good_.key}),
                StartsWith("--tls-cert is given without --tls-ca"));
    EXPECT_THAT(of_server({good_.authority, "", ""}),
                AllOf(StartsWith("--tls-ca "), HasSubstr("add --tls-cert and --tls-key")));
}

TEST_F(TlsFilesTest, AreNamedByTheOptionThatNamesThem) {
    const TlsFiles absent{directory_.file("absent"), "", ""};
    EXPECT_EQ(trouble_of(check_tls(absent, false, "etcd")),
              "--etcd-ca " + absent.authority + ": No such file or directory");
    EXPECT_EQ(channel_credentials(absent, "etcd").error().message,
              trouble_of(check_tls(absent, false, "etcd")));
    EXPECT_THAT(
        TlsRenewal::start({"", good_.certificate, directory_.file("absent")}).error().message,
        StartsWith("--tls-key " + directory_.file("absent")));
}

TEST_F(TlsFilesTest, AreFilesOfABoundedLength) {
    EXPECT_THAT(of_caller({directory_.path().string(), "", ""}), HasSubstr("is not a file"));
    const std::string large = directory_.file("large");
    test::write_file(large, test::read_file(good_.authority));
    std::filesystem::resize_file(large, kTlsFileBytesMax);
    EXPECT_THAT(of_caller({large, "", ""}), IsEmpty());
    std::filesystem::resize_file(large, kTlsFileBytesMax + 1);
    EXPECT_THAT(of_caller({large, "", ""}), EndsWith("has 1048577 bytes; at most 1048576"));
}

TEST_F(TlsFilesTest, ArePem) {
    const std::string empty = directory_.file("empty");
    test::write_file(empty, "");
    EXPECT_THAT(of_caller({empty, "", ""}), HasSubstr("holds no certificate"));
    EXPECT_THAT(of_caller({good_.key, "", ""}), HasSubstr("holds no certificate"));
    EXPECT_THAT(of_server({"", good_.key, good_.key}), HasSubstr("holds no certificate"));
    const std::string no_key = directory_.file("no_key");
    std::filesystem::copy_file(good_.certificate, no_key);
    ASSERT_EQ(::chmod(no_key.c_str(), 0600), 0);
    EXPECT_THAT(of_server({"", good_.certificate, no_key}), HasSubstr("holds no private key"));
}

TEST_F(TlsFilesTest, AskNobodyForAPassphrase) {
    EXPECT_THAT(of_server({"", good_.certificate, test::encrypt_key(good_.key)}),
                HasSubstr("without a passphrase"));
}

TEST_F(TlsFilesTest, KeepTheKeyFromEverybody) {
    ASSERT_EQ(::chmod(good_.key.c_str(), 0604), 0);
    EXPECT_EQ(of_server(good_),
              "--tls-key " + good_.key + " is open to everybody; run: chmod o= " + good_.key);
    ASSERT_EQ(::chmod(good_.key.c_str(), 0640), 0);
    EXPECT_THAT(of_server(good_), IsEmpty()) << "a group of those who may is fine";
    ASSERT_EQ(::chmod(good_.certificate.c_str(), 0644), 0);
    EXPECT_THAT(of_server(good_), IsEmpty()) << "a certificate is no secret";
}

TEST_F(TlsFilesTest, HoldTheKeyOfTheCertificate) {
    const TlsFiles other = authority_.issue("other");
    EXPECT_EQ(of_server({"", good_.certificate, other.key}),
              "--tls-key " + other.key + " is not the key of --tls-cert " + good_.certificate);
}

TEST_F(TlsFilesTest, AreGoodNow) {
    const TlsFiles old = authority_.issue("old", {.from = -2h, .until = -1h});
    EXPECT_THAT(
        of_caller(old),
        AllOf(StartsWith("--tls-cert " + old.certificate + " expired on 20"), HasSubstr(" UTC; ")));
    const TlsFiles young = authority_.issue("young", {.from = 1h, .until = 2h});
    EXPECT_THAT(of_server(young), AllOf(HasSubstr(" is good from 20"), HasSubstr("clock")));
    const TestAuthority gone(directory_.path(), "gone", -1h);
    EXPECT_THAT(of_caller({gone.file(), "", ""}),
                StartsWith("--tls-ca " + gone.file() + " expired on "));
}

TEST_F(TlsFilesTest, MayHoldAnAuthorityThatFollowsAnother) {
    const TestAuthority gone(directory_.path(), "gone", -1h);
    const std::string both = directory_.file("both");
    test::write_file(both, test::read_file(gone.file()) + test::read_file(authority_.file()));
    EXPECT_THAT(of_caller({both, "", ""}), IsEmpty());
}

TEST_F(TlsFilesTest, AreUsedOnWhileNewOnesDoNotFit) {
    const auto renewal = TlsRenewal::start(good_);
    ASSERT_TRUE(renewal.ok());
    const auto before = (*renewal)->newest();
    EXPECT_TRUE((*renewal)->renew().ok()) << "nothing is new";
    EXPECT_EQ((*renewal)->newest(), before);
    const TlsFiles other = authority_.issue("other");
    std::filesystem::rename(other.key, good_.key);
    EXPECT_THAT(trouble_of((*renewal)->renew()), HasSubstr("is not the key of --tls-cert"));
    EXPECT_EQ((*renewal)->newest(), before);
    std::filesystem::rename(other.certificate, good_.certificate);
    EXPECT_TRUE((*renewal)->renew().ok());
    EXPECT_NE((*renewal)->newest(), before);
}

/// A server without a method: who reaches it is told so.
class CallTest : public TlsFilesTest {
  protected:
    CallTest() {
        gpr_set_log_function([](gpr_log_func_args*) {});
    }
    ~CallTest() override {
        if (thread_.joinable()) {
            is_over_ = true;
            server_->wake();
            thread_.join();
        }
    }

    void serve(const TlsFiles& files) {
        auto server = GrpcServer::listen(
            {IpAddress::v4(0x7f000001U), 0},
            files,
            1'000,
            [](std::string_view, ServerCall&) { return nullptr; },
            [] { return true; });
        ASSERT_TRUE(server.ok()) << server.error().message;
        server_ = std::move(server).value();
        port_ = server_->listening().port;
        thread_ = std::thread([this] {
            while (!is_over_) {
                server_->poll(MonotonicTime::max());
            }
        });
    }

    /// Why a call fails; "": it arrives.
    std::string call(const TlsFiles& files, const std::string& host = "127.0.0.1") {
        const std::string address = host + ":" + std::to_string(port_);
        const auto credentials = channel_credentials(files);
        EXPECT_TRUE(credentials.ok()) << credentials.error().message;
        grpc::ChannelArguments arguments;
        arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
        const auto stub =
            v1::Operators::NewStub(grpc::CreateCustomChannel(address, *credentials, arguments));
        grpc::ClientContext context;
        context.set_deadline(std::chrono::system_clock::now() + 10s);
        v1::StatusReply reply;
        const grpc::Status status = stub->Status(&context, {}, &reply);
        return status.error_code() == grpc::StatusCode::UNIMPLEMENTED
                   ? ""
                   : why_failed(status, address, files);
    }

  private:
    int port_ = 0;
    std::unique_ptr<GrpcServer> server_;
    std::atomic<bool> is_over_ = false;
    std::thread thread_;
};

TEST_F(CallTest, ArrivesInPlaintext) {
    serve({});
    EXPECT_THAT(call({}), IsEmpty());
}

TEST_F(CallTest, ArrivesWithACertificateOfTheAuthority) {
    serve(good_);
    EXPECT_THAT(call(authority_.issue("caller", {.names = "DNS:caller"})), IsEmpty());
}

TEST_F(CallTest, ArrivesWithACertificateThatIsItselfTrusted) {
    const TlsFiles caller = authority_.issue("caller", {.names = "DNS:caller"});
    serve({caller.certificate, good_.certificate, good_.key});
    EXPECT_THAT(call(caller), IsEmpty()) << "as one of an authority that is not the last of all";
}

TEST_F(CallTest, NeedsNoCertificateIfNoneIsDemanded) {
    serve({"", good_.certificate, good_.key});
    EXPECT_THAT(call({good_.authority, "", ""}), IsEmpty());
    EXPECT_THAT(call(good_), IsEmpty()) << "one that is not asked for does no harm";
}

TEST_F(CallTest, InPlaintextIsToldThatTheServerWantsTls) {
    serve(good_);
    EXPECT_EQ(call({}), "it wants TLS; give --tls-ca");
    EXPECT_EQ(call({}, "localhost"), "it wants TLS; give --tls-ca") << "by name, too";
}

TEST_F(CallTest, ByTlsIsToldThatTheServerSpeaksNone) {
    serve({});
    EXPECT_EQ(call(good_), "it does not speak TLS; have it do so, or leave --tls-ca out");
}

TEST_F(CallTest, BelievesNoServerOfAnotherAuthority) {
    TestAuthority other(directory_.path(), "other_authority");
    serve(good_);
    EXPECT_EQ(call({other.file(), good_.certificate, good_.key}),
              "its certificate is not of the authority in " + other.file());
}

TEST_F(CallTest, BelievesNoServerThatIsCertifiedForOtherAddresses) {
    serve(authority_.issue("elsewhere", {.names = "IP:10.0.0.1,DNS:elsewhere"}));
    EXPECT_EQ(call(good_), "its certificate does not name 127.0.0.1");
    EXPECT_EQ(call(good_, "localhost"), "its certificate does not name localhost");
}

TEST_F(CallTest, SaysWhatElseIsWrongWithTheServersCertificate) {
    serve(authority_.issue("server", {.until = 2s}));  // it expires while the server runs
    std::string why;
    for (const auto until = std::chrono::steady_clock::now() + 20s;
         why.empty() && std::chrono::steady_clock::now() < until;) {
        why = call(good_);
    }
    EXPECT_EQ(why, "its certificate is not good: certificate has expired");
}

TEST_F(CallTest, WithoutACertificateIsToldThatOneIsDemanded) {
    serve(good_);
    EXPECT_EQ(call({good_.authority, "", ""}),
              "it demands a certificate of us; give --tls-cert and --tls-key");
}

TEST_F(CallTest, WithACertificateOfAnotherAuthorityIsRefused) {
    TestAuthority other(directory_.path(), "other_authority");
    const TlsFiles stranger = other.issue("stranger");
    serve(good_);
    EXPECT_EQ(call({good_.authority, stranger.certificate, stranger.key}),
              "it refuses our certificate " + stranger.certificate +
                  " (tlsv1 alert unknown ca): that is not of the authority it trusts, or not for "
                  "clients");
}

TEST_F(CallTest, MeetsARenewedCertificateWithoutARestart) {
    TestAuthority next(directory_.path(), "next_authority");
    serve(good_);
    const TlsFiles caller = next.issue("caller");
    EXPECT_NE(call(caller), "");
    const TlsFiles renewed = next.issue("renewed");
    for (const auto& [from, to] : {std::pair{renewed.key, good_.key},
                                   std::pair{renewed.certificate, good_.certificate},
                                   std::pair{next.file(), good_.authority}}) {
        std::filesystem::rename(from, to);
    }
    const TlsFiles now{good_.authority, caller.certificate, caller.key};
    std::string why = "not called";
    for (const auto until = std::chrono::steady_clock::now() + 20s;
         !why.empty() && std::chrono::steady_clock::now() < until;) {
        why = call(now);
    }
    EXPECT_THAT(why, IsEmpty());
}

TEST(WhyFailed, KeepsTheLastOfWhatLedToIt) {
    const grpc::Status refused(grpc::StatusCode::UNAVAILABLE,
                               "failed to connect to all addresses; last error: UNKNOWN: "
                               "ipv4:127.0.0.1:1: Failed to connect to remote host: "
                               "Connection refused");
    EXPECT_EQ(why_failed(refused, "127.0.0.1:1", {}), "Connection refused");
    const grpc::Status late(grpc::StatusCode::DEADLINE_EXCEEDED, "Deadline Exceeded");
    EXPECT_EQ(why_failed(late, "127.0.0.1:1", {}), "no answer in time");
    const grpc::Status cut(grpc::StatusCode::UNAVAILABLE, "Socket closed");
    EXPECT_EQ(why_failed(cut, "127.0.0.1:1", {}), "Socket closed");
}

TEST_F(TlsFilesTest, SayHowLongOneThatIsSilentWasAsked) {
    const test::SilentListener silent;
    ASSERT_TRUE(silent.is_listening());
    const grpc::Status status(grpc::StatusCode::UNAVAILABLE,
                              "failed to connect to all addresses; last error: UNKNOWN: ipv4:" +
                                  silent.address() + ": Handshake read failed");
    EXPECT_EQ(why_failed(status, silent.address(), good_, "tls", 100ms),
              "no answer to TLS within 100 ms");
    EXPECT_EQ(why_failed(status, silent.address(), {}, "tls", 1ms), "Handshake read failed");
    EXPECT_EQ(why_failed(status, silent.address(), good_, "tls", 0ms), "Handshake read failed");
}

TEST(CertifiedName, IsAUriOfTheDataServer) {
    EXPECT_EQ(certified_name("ds1"), "spiffe://penstock/ds/ds1");
}

}  // namespace
}  // namespace penstock::control
