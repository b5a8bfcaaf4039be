#include "rpc/tls_files.h"

#include "base/unique_fd.h"
#include "rpc/tls.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstddef>
#include <ctime>
#include <fcntl.h>
#include <sys/stat.h>
#include <system_error>
#include <utility>

namespace penstock::control {
namespace {

/// One file: what it is said to be, and where it is.
struct Named {
    std::string option;
    const std::string& path;
};

template <typename... Values>
Error wrong(const Named& file, fmt::format_string<Values...> text, Values&&... values) {
    return {
        ErrorCode::invalid_argument,
        fmt::format(
            "{} {}{}", file.option, file.path, fmt::format(text, std::forward<Values>(values)...))};
}

Error refused_by_system(const Named& file) {
    return wrong(file, ": {}", std::generic_category().message(errno));
}

/// Errors: also for a secret that is open to everybody. Its group may read it: so does a service
/// that is not the key's owner. Refused and not warned of, because an operator is there at the
/// start who can mend it.
Result<std::string> read_file(const Named& file, bool is_secret) {
    const UniqueFd opened(::open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat is {};
    if (!opened || ::fstat(opened.get(), &is) != 0) {
        return refused_by_system(file);
    }
    if (!S_ISREG(is.st_mode)) {
        return wrong(file, " is not a file; give one in PEM");
    }
    if (is_secret && (is.st_mode & S_IRWXO) != 0) {
        return wrong(file, " is open to everybody; run: chmod o= {}", file.path);
    }
    if (static_cast<std::size_t>(is.st_size) > kTlsFileBytesMax) {
        return wrong(file, " has {} bytes; at most {}", is.st_size, kTlsFileBytesMax);
    }
    std::string text(static_cast<std::size_t>(is.st_size), '\0');
    std::size_t filled = 0;
    while (filled < text.size()) {
        const ssize_t bytes = ::read(opened.get(), text.data() + filled, text.size() - filled);
        if (bytes < 0) {
            return refused_by_system(file);
        }
        if (bytes == 0) {
            break;
        }
        filled += static_cast<std::size_t>(bytes);
    }
    text.resize(filled);
    return text;
}

BioHandle bio_of(const std::string& text) {
    return BioHandle(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::vector<CertificateHandle> certificates_in(const std::string& text) {
    std::vector<CertificateHandle> certificates;
    const BioHandle bio = bio_of(text);
    while (X509* const one = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
        certificates.emplace_back(one);
    }
    ERR_clear_error();  // the last one of them is that there are no more
    return certificates;
}

/// A key without a passphrase: nobody is asked for one.
KeyHandle key_in(const std::string& text) {
    const auto no_passphrase = [](char*, int, int, void*) { return -1; };
    const BioHandle bio = bio_of(text);
    KeyHandle key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
    ERR_clear_error();
    return key;
}

std::string text_of(const ASN1_TIME* time) {
    std::tm broken_down{};
    return ASN1_TIME_to_tm(time, &broken_down) == 1
               ? fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", broken_down)
               : "a time that cannot be read";
}

Result<void> check_times(const Named& file, const X509& certificate) {
    const ASN1_TIME* const from = X509_get0_notBefore(&certificate);
    const ASN1_TIME* const until = X509_get0_notAfter(&certificate);
    if (X509_cmp_current_time(until) <= 0) {
        return wrong(file, " expired on {}; give one that is good now", text_of(until));
    }
    if (X509_cmp_current_time(from) > 0) {
        return wrong(
            file, " is good from {} on; is the clock of this machine right?", text_of(from));
    }
    return {};
}

Result<std::vector<CertificateHandle>> read_certificates(const Named& file, std::string& text) {
    auto read = read_file(file, false);
    if (!read) {
        return std::move(read).error();
    }
    text = std::move(read).value();
    auto certificates = certificates_in(text);
    if (certificates.empty()) {
        return wrong(file, " holds no certificate; it has to begin -----BEGIN CERTIFICATE-----");
    }
    return certificates;
}

Result<void> read_authority(const Named& file, TlsMaterial& material) {
    auto authorities = read_certificates(file, material.authority);
    if (!authorities) {
        return std::move(authorities).error();
    }
    material.authorities = std::move(authorities).value();
    // Several may be trusted while one takes over from another: one of them has to be good.
    Result<void> checked;
    for (const CertificateHandle& authority : material.authorities) {
        checked = check_times(file, *authority);
        if (checked) {
            break;
        }
    }
    return checked;
}

Result<void> read_identity(const Named& certificate, const Named& key, TlsMaterial& material) {
    auto chain = read_certificates(certificate, material.certificate);
    if (!chain) {
        return std::move(chain).error();
    }
    material.chain = std::move(chain).value();
    const CertificateHandle& ours = material.chain.front();
    if (auto checked = check_times(certificate, *ours); !checked) {
        return checked;
    }
    auto read = read_file(key, true);
    if (!read) {
        return std::move(read).error();
    }
    material.key = std::move(read).value();
    material.private_key = key_in(material.key);
    if (material.private_key == nullptr) {
        return wrong(key, " holds no private key in PEM that can be read without a passphrase");
    }
    const bool is_its = X509_check_private_key(ours.get(), material.private_key.get()) == 1;
    ERR_clear_error();
    return is_its ? Result<void>()
                  : wrong(key, " is not the key of {} {}", certificate.option, certificate.path);
}

Error missing(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

}  // namespace

Result<TlsMaterial> read_tls(const TlsFiles& files, bool is_server, std::string_view prefix) {
    const Named authority{fmt::format("--{}-ca", prefix), files.authority};
    const Named certificate{fmt::format("--{}-cert", prefix), files.certificate};
    const Named key{fmt::format("--{}-key", prefix), files.key};
    if (files.certificate.empty() != files.key.empty()) {
        const bool is_key_missing = files.key.empty();
        return missing(fmt::format("{} is given without {}; give both",
                                   is_key_missing ? certificate.option : key.option,
                                   is_key_missing ? key.option : certificate.option));
    }
    if (is_server && files.certificate.empty()) {
        return missing(
            fmt::format("{} demands certificates of callers, for which we need one, too; "
                        "add {} and {}",
                        authority.option,
                        certificate.option,
                        key.option));
    }
    if (!is_server && files.authority.empty()) {
        return missing(fmt::format("{} is given without {}, which says whom to believe; add it",
                                   certificate.option,
                                   authority.option));
    }
    TlsMaterial material;
    if (!files.authority.empty()) {
        if (auto done = read_authority(authority, material); !done) {
            return std::move(done).error();
        }
    }
    if (!files.certificate.empty()) {
        if (auto done = read_identity(certificate, key, material); !done) {
            return std::move(done).error();
        }
    }
    return material;
}

Result<void> check_tls(const TlsFiles& files, bool is_server, std::string_view prefix) {
    if (!files.any()) {
        return {};
    }
    auto material = read_tls(files, is_server, prefix);
    return material ? Result<void>() : std::move(material).error();
}

}  // namespace penstock::control
