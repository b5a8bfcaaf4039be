#include "base/clock.h"
#include "base/net_address.h"
#include "base/socket_address.h"
#include "base/unique_fd.h"
#include "rpc/openssl_handles.h"
#include "rpc/tls.h"

#include <fmt/format.h>
#include <grpcpp/support/status.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <optional>
#include <poll.h>
#include <string_view>
#include <sys/socket.h>

namespace penstock::control {
namespace {

using std::chrono::milliseconds;

/// What a server that has taken our certificate says at once: HTTP/2 settings. One that has not
/// says nothing, or why, and closes.
constexpr std::size_t kFirstBytes = 16;

/// A handshake of our own. Bytes go through memory, because OpenSSL's own sockets raise SIGPIPE.
class Handshake {
  public:
    Handshake(const TlsFiles& files, milliseconds most)
        : context_(SSL_CTX_new(TLS_client_method())) {
        SSL_CTX_set_min_proto_version(context_.get(), TLS1_2_VERSION);
        SSL_CTX_set_default_passwd_cb(context_.get(), [](char*, int, int, void*) { return -1; });
        if (!files.authority.empty()) {
            SSL_CTX_load_verify_file(context_.get(), files.authority.c_str());
            X509_STORE_set_flags(SSL_CTX_get_cert_store(context_.get()),
                                 X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST);
            SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
        }
        if (!files.certificate.empty()) {
            SSL_CTX_use_certificate_chain_file(context_.get(), files.certificate.c_str());
            SSL_CTX_use_PrivateKey_file(context_.get(), files.key.c_str(), SSL_FILETYPE_PEM);
        }
        static constexpr std::array<unsigned char, 3> kHttp2{2, 'h', '2'};
        SSL_CTX_set_alpn_protos(context_.get(), kHttp2.data(), kHttp2.size());
        session_.reset(SSL_new(context_.get()));
        to_us_ = BIO_new(BIO_s_mem());
        from_us_ = BIO_new(BIO_s_mem());
        SSL_set_bio(session_.get(), to_us_, from_us_);  // which owns both from here on
        until_ = monotonic_now() + most;
    }

    /// Errors: false: there is nobody to be reached.
    bool connect(const Endpoint& peer, const std::string& host) {
        if (parse_ip_address(host)) {
            X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session_.get()), host.c_str());
        } else {
            SSL_set1_host(session_.get(), host.c_str());
            SSL_set_tlsext_host_name(session_.get(), host.c_str());
        }
        socket_ = UniqueFd(
            ::socket(address_family(peer.ip), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        const SocketAddress address = to_socket_address(peer);
        if (::connect(socket_.get(), address.get(), address.length) != 0 && errno != EINPROGRESS) {
            return false;
        }
        int error = 0;
        socklen_t bytes = sizeof(error);
        return await(POLLOUT) &&
               ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &bytes) == 0 && error == 0;
    }

    /// The keys are agreed on, and the other end's certificate is good.
    bool agree() {
        return drive([this] { return SSL_connect(session_.get()); });
    }
    /// The other end says something within the session.
    bool is_spoken_to() {
        std::array<char, kFirstBytes> said{};
        return drive([&] { return SSL_read(session_.get(), said.data(), said.size()); });
    }

    [[nodiscard]] bool is_out_of_time() const { return monotonic_now() >= until_; }
    [[nodiscard]] long judgement() const { return SSL_get_verify_result(session_.get()); }
    /// What OpenSSL said of the last failure; "": nothing.
    [[nodiscard]] const std::string& reason() const { return reason_; }
    [[nodiscard]] bool is_no_tls() const {
        return reason_code_ == SSL_R_WRONG_VERSION_NUMBER || reason_code_ == SSL_R_HTTP_REQUEST;
    }

  private:
    bool await(short events) {
        const auto left = std::chrono::ceil<milliseconds>(until_ - monotonic_now());
        pollfd wanted{socket_.get(), events, 0};
        return left.count() > 0 && ::poll(&wanted, 1, static_cast<int>(left.count())) > 0;
    }

    /// Carries bytes both ways until `step` is done. False if it fails, or time runs out.
    template <typename Step>
    bool drive(Step step) {
        while (true) {
            ERR_clear_error();
            const int done = step();
            const int error = SSL_get_error(session_.get(), done);
            note_reason();
            send_all();
            if (done > 0) {
                return true;
            }
            if (error != SSL_ERROR_WANT_READ || !receive_some()) {
                return false;
            }
        }
    }

    void note_reason() {
        const unsigned long error = ERR_peek_error();
        reason_code_ = error == 0 ? 0 : ERR_GET_REASON(error);
        const char* const words = error == 0 ? nullptr : ERR_reason_error_string(error);
        reason_ = words == nullptr ? "" : words;
        ERR_clear_error();
    }

    /// What cannot be sent is not missed: the answer tells.
    void send_all() {
        char* bytes = nullptr;
        const long count = BIO_get_mem_data(from_us_, &bytes);
        if (count > 0) {
            static_cast<void>(
                ::send(socket_.get(), bytes, static_cast<std::size_t>(count), MSG_NOSIGNAL));
        }
        static_cast<void>(BIO_reset(from_us_));
    }

    bool receive_some() {
        std::array<char, 4096> bytes;
        const ssize_t count =
            await(POLLIN) ? ::recv(socket_.get(), bytes.data(), bytes.size(), 0) : -1;
        return count > 0 && BIO_write(to_us_, bytes.data(), static_cast<int>(count)) == count;
    }

    TlsContextHandle context_;
    TlsSessionHandle session_;
    BIO* to_us_ = nullptr;
    BIO* from_us_ = nullptr;
    UniqueFd socket_;
    MonotonicTime until_;  // of what waits for the other end
    std::string reason_;
    int reason_code_ = 0;
};

std::string bracketed(const std::string& reason) {
    return reason.empty() ? "" : fmt::format(" ({})", reason);
}

/// What is wrong with the other end's certificate.
std::string why_not_good(long judgement, const std::string& host, const TlsFiles& files) {
    switch (judgement) {
        case X509_V_ERR_HOSTNAME_MISMATCH:
        case X509_V_ERR_IP_ADDRESS_MISMATCH:
            return fmt::format("its certificate does not name {}", host);
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
            return fmt::format("its certificate is not of the authority in {}", files.authority);
        default:
            return fmt::format("its certificate is not good: {}",
                               X509_verify_cert_error_string(judgement));
    }
}

/// Why no session comes about; "" if one does, or if that cannot be told.
std::string why_no_session(const Endpoint& peer,
                           const std::string& host,
                           const TlsFiles& files,
                           std::string_view prefix,
                           milliseconds most) {
    Handshake handshake(files, most);
    if (!handshake.connect(peer, host)) {
        return "";
    }
    const bool is_agreed = handshake.agree();
    if (!files.any()) {
        return is_agreed ? fmt::format("it wants TLS; give --{}-ca", prefix) : "";
    }
    if (handshake.judgement() != X509_V_OK) {
        return why_not_good(handshake.judgement(), host, files);
    }
    if (handshake.is_no_tls()) {
        return fmt::format("it does not speak TLS; have it do so, or leave --{}-ca out", prefix);
    }
    if (!is_agreed && handshake.is_out_of_time()) {
        return fmt::format("no answer to TLS within {} ms", most.count());
    }
    if (!is_agreed) {
        return fmt::format("it agrees to no TLS session{}", bracketed(handshake.reason()));
    }
    if (handshake.is_spoken_to() || handshake.is_out_of_time()) {
        return "";
    }
    return files.certificate.empty()
               ? fmt::format("it demands a certificate of us; give --{0}-cert and --{0}-key",
                             prefix)
               : fmt::format(
                     "it refuses our certificate {}{}: that is not of the authority it "
                     "trusts, or not for clients",
                     files.certificate,
                     bracketed(handshake.reason()));
}

/// The host of HOST:PORT, without the brackets of an IPv6 address.
std::string host_of(const std::string& address) {
    const std::string host = address.substr(0, address.rfind(':'));
    return host.starts_with('[') && host.ends_with(']') ? host.substr(1, host.size() - 2) : host;
}

/// Where gRPC tried last, which it says as "ipv4:10.0.0.1:7400: ", if `address` is a name.
Result<Endpoint> peer_of(const std::string& address, std::string_view chain) {
    constexpr std::string_view kMark = "ipv4:";
    const std::size_t mark = chain.rfind(kMark);
    if (auto numeric = parse_endpoint(address); numeric || mark == std::string_view::npos) {
        return numeric;
    }
    const std::string_view rest = chain.substr(mark + kMark.size());
    return parse_endpoint(rest.substr(0, rest.find(": ")));
}

}  // namespace

std::string last_words(const grpc::Status& status) {
    const std::string& chain = status.error_message();
    const std::size_t last = chain.rfind(": ");
    return last == std::string::npos ? chain : chain.substr(last + 2);
}

std::string why_failed(const grpc::Status& status,
                       const std::string& address,
                       const TlsFiles& files,
                       std::string_view prefix,
                       milliseconds most) {
    if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
        return "no answer in time";
    }
    const std::string& chain = status.error_message();
    const std::string words = last_words(status);
    // gRPC's words for a connection that was made, and came to nothing.
    const bool may_be_tls = chain.starts_with("failed to connect") &&
                            chain.find("Failed to connect to remote host") == std::string::npos;
    if (!may_be_tls) {
        return words;
    }
    const Result<Endpoint> peer = peer_of(address, chain);
    const std::string why =
        peer ? why_no_session(*peer, host_of(address), files, prefix, most) : "";
    return why.empty() ? words : why;
}

}  // namespace penstock::control
