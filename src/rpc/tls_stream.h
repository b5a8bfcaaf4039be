#pragma once

#include "rpc/openssl_handles.h"
#include "rpc/tls_files.h"

#include <penstock/result.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::control {

/// What all TLS sessions of one end share: TLS 1.2 or later; of what the other end offers (ALPN)
/// only HTTP/2, "h2"; no session is resumed. Thread: any.
class TlsContext {
  public:
    /// A server's; with authorities, a certificate of one of them is demanded of every caller.
    /// Errors: system: OpenSSL refuses what was judged to be good.
    static Result<TlsContext> of_server(const TlsMaterial& material);
    /// A caller's of `host`, an address or a name that the server's certificate has to bear.
    static Result<TlsContext> of_caller(const TlsMaterial& material, const std::string& host);

    [[nodiscard]] SSL_CTX& get() const noexcept { return *context_; }

  private:
    explicit TlsContext(TlsContextHandle context) : context_(std::move(context)) {}
    TlsContextHandle context_;
};

/// One TLS session between two buffers of bytes: the network is its caller's. Thread: its owner's.
class TlsStream {
  public:
    static TlsStream accept(const TlsContext& context);
    /// The first bytes leave with the first receive("").
    static TlsStream call(const TlsContext& context);

    /// Takes what came from the network: appends content to `plain`, and to `to_network` what the
    /// other end has to be told. Returns: false if the session is over, well or not.
    bool receive(std::string_view from_network, std::string& plain, std::string& to_network);
    /// Appends `plain` as records. Returns: false as above; also before both have agreed.
    bool send(std::string_view plain, std::string& to_network);

    /// Keys and certificates are agreed on.
    [[nodiscard]] bool is_agreed() const noexcept;
    /// The URIs among the names that the other end's certificate bears; none if it showed none.
    [[nodiscard]] std::vector<std::string> peer_uris() const;

    /// What OpenSSL reads from and writes to.
    struct Network {
        std::string_view in;
        std::string* out = nullptr;
    };

  private:
    explicit TlsStream(const TlsContext& context);

    // Apart, because OpenSSL keeps its address.
    std::unique_ptr<Network> network_;
    TlsSessionHandle session_;
};

}  // namespace penstock::control
