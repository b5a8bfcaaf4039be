#pragma once

#include <penstock/result.h>
#include <penstock/tls.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace grpc {
class ChannelCredentials;
class Status;
}  // namespace grpc

/// TLS on the control network: what files make of a connection, and why one does not come about.
/// Errors name the option that names the file: "--tls-key", or "--etcd-key" with the prefix "etcd".
/// Thread of all: any.
namespace penstock::control {

/// Largest file that is read: thousands of certificates.
inline constexpr std::size_t kTlsFileBytesMax = std::size_t{1} << 20U;

/// The time that finding out why TLS fails may take.
inline constexpr std::chrono::milliseconds kTlsQuestionMost{1'000};

/// Whether the files go together and are good now: readable, PEM, the key that of the certificate
/// and closed to others, nothing expired. `is_server`: a certificate is needed, an authority
/// (whose certificates are then demanded of callers) is not; of a caller it is the other way round.
/// Errors: invalid_argument, one line.
Result<void> check_tls(const TlsFiles& files, bool is_server, std::string_view prefix = "tls");

/// How to call: plaintext without files, else TLS by what the files hold now.
/// Errors: as check_tls().
Result<std::shared_ptr<grpc::ChannelCredentials>> channel_credentials(
    const TlsFiles& files, std::string_view prefix = "tls");

/// The name in the certificate of a data server: "spiffe://penstock/ds/ds1", a URI among its
/// alternative names.
std::string certified_name(std::string_view data_server);

/// gRPC's last words of why a call failed, without its chain of what led to it.
std::string last_words(const grpc::Status& status);

/// Why a call to `address` (HOST:PORT) with these files failed: one phrase, without gRPC's chain of
/// what led to it. If it seems that TLS does not come about, the other end is asked by a handshake
/// of our own, for `most` at most, because gRPC does not say what was wrong with whose certificate.
std::string why_failed(const grpc::Status& status,
                       const std::string& address,
                       const TlsFiles& files,
                       std::string_view prefix = "tls",
                       std::chrono::milliseconds most = kTlsQuestionMost);

}  // namespace penstock::control
