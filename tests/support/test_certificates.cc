#include "support/test_certificates.h"

#include "base/check.h"

#include <cstdio>
#include <fstream>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sstream>

namespace penstock::test {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using File = std::unique_ptr<std::FILE, decltype(&std::fclose)>;

Key new_key() { return {EVP_EC_gen("P-256"), EVP_PKEY_free}; }

File create(const std::string& path) {
    File file(std::fopen(path.c_str(), "w"), std::fclose);
    PENSTOCK_CHECK(file != nullptr);
    return file;
}

void write_key(const std::string& path, EVP_PKEY* key) {
    const File file = create(path);
    PENSTOCK_CHECK(PEM_write_PrivateKey(file.get(), key, nullptr, nullptr, 0, nullptr, nullptr) ==
                   1);
    std::filesystem::permissions(
        path, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

void write_certificate(const std::string& path, X509* certificate) {
    const File file = create(path);
    PENSTOCK_CHECK(PEM_write_X509(file.get(), certificate) == 1);
}

void add_extension(X509* certificate, int kind, const std::string& value) {
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str());
    PENSTOCK_CHECK(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

Certificate new_certificate(const std::string& name,
                            EVP_PKEY* key,
                            std::chrono::seconds from,
                            std::chrono::seconds until) {
    Certificate certificate(X509_new(), X509_free);
    X509_set_version(certificate.get(), X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate.get()), from.count());
    X509_gmtime_adj(X509_getm_notAfter(certificate.get()), until.count());
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()),
                               "CN",
                               MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name.c_str()),
                               -1,
                               -1,
                               0);
    X509_set_pubkey(certificate.get(), key);
    return certificate;
}

}  // namespace

struct TestAuthority::Signer {
    Key key = new_key();
    Certificate certificate{nullptr, X509_free};

    void sign(X509* other) const {
        X509_set_issuer_name(other, X509_get_subject_name(certificate.get()));
        PENSTOCK_CHECK(X509_sign(other, key.get(), EVP_sha256()) > 0);
    }
};

TestAuthority::TestAuthority(const std::filesystem::path& directory,
                             const std::string& name,
                             std::chrono::seconds until)
    : directory_(directory),
      file_((directory / (name + ".pem")).string()),
      signer_(std::make_unique<Signer>()) {
    signer_->certificate =
        new_certificate(name, signer_->key.get(), until - std::chrono::hours{2}, until);
    add_extension(signer_->certificate.get(), NID_basic_constraints, "critical,CA:TRUE");
    signer_->sign(signer_->certificate.get());
    write_certificate(file_, signer_->certificate.get());
}

TestAuthority::~TestAuthority() = default;

TlsFiles TestAuthority::issue(const std::string& name, const CertificateWishes& wishes) {
    const Key key = new_key();
    const Certificate certificate = new_certificate(name, key.get(), wishes.from, wishes.until);
    add_extension(certificate.get(), NID_subject_alt_name, wishes.names);
    signer_->sign(certificate.get());
    TlsFiles files{
        file_, (directory_ / name).string() + ".pem", (directory_ / name).string() + ".key"};
    write_certificate(files.certificate, certificate.get());
    write_key(files.key, key.get());
    return files;
}

std::string encrypt_key(const std::string& key_file) {
    const File from(std::fopen(key_file.c_str(), "r"), std::fclose);
    const Key key(PEM_read_PrivateKey(from.get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
    std::string path = key_file + ".encrypted";
    {
        const File to = create(path);
        PENSTOCK_CHECK(PEM_write_PrivateKey(to.get(),
                                            key.get(),
                                            EVP_aes_128_cbc(),
                                            reinterpret_cast<const unsigned char*>("secret"),
                                            6,
                                            nullptr,
                                            nullptr) == 1);
    }
    std::filesystem::permissions(path, std::filesystem::perms::owner_read);
    return path;
}

void write_file(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
}

std::string read_file(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
}

}  // namespace penstock::test
