#pragma once

#include "rpc/tls_stream.h"

#include <penstock/result.h>
#include <penstock/tls.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace penstock::control {

/// A server answers with a renewed certificate so long after its files were replaced, at most.
inline constexpr std::chrono::seconds kTlsRereadInterval{2};

/// A server's TLS, made anew when its files are replaced by others that are good and go together;
/// until then it goes on with what it has, and the log says why. Reads on a thread of its own: a
/// slow disk holds up nobody.
class TlsRenewal {
  public:
    /// Errors: as check_tls().
    static Result<std::unique_ptr<TlsRenewal>> start(const TlsFiles& files);
    ~TlsRenewal();
    TlsRenewal(const TlsRenewal&) = delete;
    TlsRenewal& operator=(const TlsRenewal&) = delete;

    /// For the next session. Thread: any.
    [[nodiscard]] std::shared_ptr<const TlsContext> newest() const;
    /// Reads the files now. Errors: one line; nothing has changed then. Thread: any.
    Result<void> renew();

  private:
    TlsRenewal(TlsFiles files, TlsMaterial material, TlsContext context);
    void run();

    const TlsFiles files_;
    std::mutex renewing_;
    std::string in_use_;  // guarded by renewing_; what the files held
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::shared_ptr<const TlsContext> newest_;  // guarded by mutex_
    bool is_stopping_ = false;                  // guarded by mutex_
    std::thread thread_;                        // last: it uses all of the above
};

}  // namespace penstock::control
