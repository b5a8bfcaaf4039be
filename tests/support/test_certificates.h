#pragma once

#include <penstock/tls.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

namespace penstock::test {

/// What a certificate says. Times count from now.
struct CertificateWishes {
    std::string names = "IP:127.0.0.1";  // alternative names, as openssl writes them
    std::chrono::seconds from{-3600};
    std::chrono::seconds until{3600};
};

/// An authority whose certificates tests need: good ones, and such as no authority should make.
/// Files go to `directory`; keys are open to their owner only.
class TestAuthority {
  public:
    TestAuthority(const std::filesystem::path& directory,
                  const std::string& name,
                  std::chrono::seconds until = std::chrono::hours{1});
    ~TestAuthority();
    TestAuthority(const TestAuthority&) = delete;
    TestAuthority& operator=(const TestAuthority&) = delete;

    /// The authority's own certificate.
    [[nodiscard]] const std::string& file() const noexcept { return file_; }
    /// Writes a certificate and its key. Returns: their paths, with the authority's.
    TlsFiles issue(const std::string& name, const CertificateWishes& wishes = {});

  private:
    struct Signer;
    std::filesystem::path directory_;
    std::string file_;
    std::unique_ptr<Signer> signer_;
};

/// The same key, for which a passphrase is needed.
std::string encrypt_key(const std::string& key_file);

void write_file(const std::string& path, const std::string& text);
std::string read_file(const std::string& path);

}  // namespace penstock::test
