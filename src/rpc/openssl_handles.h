#pragma once

#include <memory>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace penstock::control {

/// Frees what OpenSSL gave.
template <auto free_it>
struct OpensslFree {
    template <typename T>
    void operator()(T* what) const noexcept {
        free_it(what);
    }
};

using BioHandle = std::unique_ptr<BIO, OpensslFree<BIO_free>>;
using CertificateHandle = std::unique_ptr<X509, OpensslFree<X509_free>>;
using KeyHandle = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;
using TlsContextHandle = std::unique_ptr<SSL_CTX, OpensslFree<SSL_CTX_free>>;
using TlsSessionHandle = std::unique_ptr<SSL, OpensslFree<SSL_free>>;

}  // namespace penstock::control
