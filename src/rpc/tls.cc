#include "rpc/tls.h"

#include "rpc/tls_files.h"

#include <fmt/format.h>
#include <grpcpp/security/credentials.h>

#include <utility>

namespace penstock::control {

Result<std::shared_ptr<grpc::ChannelCredentials>> channel_credentials(const TlsFiles& files,
                                                                      std::string_view prefix) {
    if (!files.any()) {
        return grpc::InsecureChannelCredentials();
    }
    auto material = read_tls(files, false, prefix);
    if (!material) {
        return std::move(material).error();
    }
    return grpc::SslCredentials({.pem_root_certs = std::move(material->authority),
                                 .pem_private_key = std::move(material->key),
                                 .pem_cert_chain = std::move(material->certificate)});
}

std::string certified_name(std::string_view data_server) {
    return fmt::format("spiffe://penstock/ds/{}", data_server);
}

}  // namespace penstock::control
