#pragma once

#include "rpc/openssl_handles.h"

#include <penstock/result.h>
#include <penstock/tls.h>

#include <string>
#include <string_view>
#include <vector>

namespace penstock::control {

/// What the files of one end hold: as PEM and as OpenSSL has it. What no file is named for is
/// empty.
struct TlsMaterial {
    std::string authority, certificate, key;
    std::vector<CertificateHandle> authorities;
    std::vector<CertificateHandle> chain;  // our certificate, then those that lead to its authority
    KeyHandle private_key;
};

/// Reads all that is named and judges it. `is_server`, `prefix` and errors: as check_tls(), but
/// that some file has to be named. Thread: any.
Result<TlsMaterial> read_tls(const TlsFiles& files,
                             bool is_server,
                             std::string_view prefix = "tls");

}  // namespace penstock::control
