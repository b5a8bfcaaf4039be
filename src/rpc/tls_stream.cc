#include "rpc/tls_stream.h"

#include "base/check.h"
#include "base/net_address.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <utility>

namespace penstock::control {
namespace {

constexpr std::array<unsigned char, 3> kHttp2{2, 'h', '2'};  // as ALPN has it: RFC 7301, 3.1
constexpr std::size_t kRecordBytesMax = 16'384;              // RFC 8446, 5.1

TlsStream::Network& network_of(BIO* bio) {
    return *static_cast<TlsStream::Network*>(BIO_get_data(bio));
}

int read_network(BIO* bio, char* bytes, int most) {
    std::string_view& in = network_of(bio).in;
    BIO_clear_retry_flags(bio);
    if (in.empty()) {
        BIO_set_retry_read(bio);
        return -1;
    }
    const std::size_t count = std::min(in.size(), static_cast<std::size_t>(most));
    std::copy_n(in.data(), count, bytes);
    in.remove_prefix(count);
    return static_cast<int>(count);
}

int write_network(BIO* bio, const char* bytes, int count) {
    BIO_clear_retry_flags(bio);
    network_of(bio).out->append(bytes, static_cast<std::size_t>(count));
    return count;
}

long control_network(BIO* /*bio*/, int command, long /*number*/, void* /*what*/) {
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

/// Source: BIO_meth_new(3).
BIO_METHOD* network_method() {
    static BIO_METHOD* const kMethod = [] {
        BIO_METHOD* const made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "bytes");
        BIO_meth_set_read(made, read_network);
        BIO_meth_set_write(made, write_network);
        BIO_meth_set_ctrl(made, control_network);
        return made;
    }();
    return kMethod;
}

/// Source: SSL_CTX_set_alpn_select_cb(3).
int select_http2(SSL* /*session*/,
                 const unsigned char** chosen,
                 unsigned char* length,
                 const unsigned char* offered,
                 unsigned offered_length,
                 void* /*none*/) {
    unsigned char* found = nullptr;
    const int outcome = SSL_select_next_proto(
        &found, length, kHttp2.data(), kHttp2.size(), offered, offered_length);
    *chosen = found;
    return outcome == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

Error refused() {
    const char* const words = ERR_reason_error_string(ERR_peek_last_error());
    std::string message = "OpenSSL does not take the certificates";
    message += words == nullptr ? "" : std::string(": ") + words;
    ERR_clear_error();
    return {ErrorCode::system, std::move(message)};
}

bool use_identity(SSL_CTX& context, const TlsMaterial& material) {
    if (material.chain.empty()) {
        return true;
    }
    bool is_good = SSL_CTX_use_certificate(&context, material.chain.front().get()) == 1 &&
                   SSL_CTX_use_PrivateKey(&context, material.private_key.get()) == 1;
    for (std::size_t i = 1; i < material.chain.size(); ++i) {
        is_good = is_good && SSL_CTX_add1_chain_cert(&context, material.chain[i].get()) == 1;
    }
    return is_good;
}

bool use_authorities(SSL_CTX& context, const TlsMaterial& material) {
    X509_STORE* const store = SSL_CTX_get_cert_store(&context);
    // As gRPC has it: an authority that is trusted need not be the last one of all.
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST);
    return std::ranges::all_of(material.authorities, [&](const CertificateHandle& authority) {
        return X509_STORE_add_cert(store, authority.get()) == 1 &&
               SSL_CTX_add_client_CA(&context, authority.get()) == 1;
    });
}

Result<TlsContextHandle> make_context(const SSL_METHOD* method, const TlsMaterial& material) {
    TlsContextHandle context(SSL_CTX_new(method));
    PENSTOCK_CHECK(context != nullptr);
    SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
    SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(context.get(), 0);
    SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
    // An idle session keeps no buffers.
    SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);
    if (!use_identity(*context, material) || !use_authorities(*context, material)) {
        return refused();
    }
    return context;
}

}  // namespace

Result<TlsContext> TlsContext::of_server(const TlsMaterial& material) {
    auto context = make_context(TLS_server_method(), material);
    if (!context) {
        return std::move(context).error();
    }
    SSL_CTX_set_alpn_select_cb(context->get(), select_http2, nullptr);
    if (!material.authorities.empty()) {
        SSL_CTX_set_verify(
            context->get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    }
    return TlsContext(std::move(context).value());
}

Result<TlsContext> TlsContext::of_caller(const TlsMaterial& material, const std::string& host) {
    auto context = make_context(TLS_client_method(), material);
    if (!context) {
        return std::move(context).error();
    }
    SSL_CTX_set_alpn_protos(context->get(), kHttp2.data(), kHttp2.size());
    SSL_CTX_set_verify(context->get(), SSL_VERIFY_PEER, nullptr);
    X509_VERIFY_PARAM* const wanted = SSL_CTX_get0_param(context->get());
    const int is_set = parse_ip_address(host)
                           ? X509_VERIFY_PARAM_set1_ip_asc(wanted, host.c_str())
                           : X509_VERIFY_PARAM_set1_host(wanted, host.c_str(), host.size());
    if (is_set != 1) {
        return refused();
    }
    return TlsContext(std::move(context).value());
}

TlsStream::TlsStream(const TlsContext& context)
    : network_(std::make_unique<Network>()), session_(SSL_new(&context.get())) {
    PENSTOCK_CHECK(session_ != nullptr);
    BIO* const bio = BIO_new(network_method());
    PENSTOCK_CHECK(bio != nullptr);
    BIO_set_data(bio, network_.get());
    BIO_set_init(bio, 1);
    SSL_set_bio(session_.get(), bio, bio);  // which owns it from here on
}

TlsStream TlsStream::accept(const TlsContext& context) {
    TlsStream stream(context);
    SSL_set_accept_state(stream.session_.get());
    return stream;
}

TlsStream TlsStream::call(const TlsContext& context) {
    TlsStream stream(context);
    SSL_set_connect_state(stream.session_.get());
    return stream;
}

bool TlsStream::receive(std::string_view from_network,
                        std::string& plain,
                        std::string& to_network) {
    *network_ = {from_network, &to_network};
    std::array<char, kRecordBytesMax> record;  // NOLINT(*-member-init): filled by SSL_read
    for (;;) {
        ERR_clear_error();
        const int count = SSL_read(session_.get(), record.data(), record.size());
        if (count <= 0) {
            const bool goes_on = SSL_get_error(session_.get(), count) == SSL_ERROR_WANT_READ;
            ERR_clear_error();
            return goes_on;
        }
        plain.append(record.data(), static_cast<std::size_t>(count));
    }
}

bool TlsStream::send(std::string_view plain, std::string& to_network) {
    *network_ = {{}, &to_network};
    ERR_clear_error();
    const bool is_sent =
        plain.empty() ||
        SSL_write(session_.get(), plain.data(), static_cast<int>(plain.size())) > 0;
    ERR_clear_error();
    return is_sent;
}

bool TlsStream::is_agreed() const noexcept { return SSL_is_init_finished(session_.get()) == 1; }

std::vector<std::string> TlsStream::peer_uris() const {
    std::vector<std::string> uris;
    const CertificateHandle certificate(SSL_get1_peer_certificate(session_.get()));
    if (certificate == nullptr) {
        return uris;
    }
    const std::unique_ptr<GENERAL_NAMES, OpensslFree<GENERAL_NAMES_free>> names(
        static_cast<GENERAL_NAMES*>(
            X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr)));
    for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
        const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names.get(), i);
        if (name->type == GEN_URI) {
            const ASN1_IA5STRING* const uri = name->d.uniformResourceIdentifier;
            uris.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)),
                              static_cast<std::size_t>(ASN1_STRING_length(uri)));
        }
    }
    return uris;
}

}  // namespace penstock::control
