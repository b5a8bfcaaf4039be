#include "rpc/tls_renewal.h"

#include "base/log.h"
#include "rpc/tls_files.h"

#include <utility>

namespace penstock::control {
namespace {

std::string all_of(const TlsMaterial& material) {
    return material.authority + '\0' + material.certificate + '\0' + material.key;
}

}  // namespace

Result<std::unique_ptr<TlsRenewal>> TlsRenewal::start(const TlsFiles& files) {
    auto material = read_tls(files, true);
    if (!material) {
        return std::move(material).error();
    }
    auto context = TlsContext::of_server(*material);
    if (!context) {
        return std::move(context).error();
    }
    return std::unique_ptr<TlsRenewal>(
        new TlsRenewal(files, std::move(material).value(), std::move(context).value()));
}

TlsRenewal::TlsRenewal(TlsFiles files, TlsMaterial material, TlsContext context)
    : files_(std::move(files)),
      in_use_(all_of(material)),
      newest_(std::make_shared<const TlsContext>(std::move(context))),
      thread_([this] { run(); }) {}

TlsRenewal::~TlsRenewal() {
    {
        const std::lock_guard lock(mutex_);
        is_stopping_ = true;
    }
    changed_.notify_one();
    thread_.join();
}

std::shared_ptr<const TlsContext> TlsRenewal::newest() const {
    const std::lock_guard lock(mutex_);
    return newest_;
}

void TlsRenewal::run() {
    std::string trouble;
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, kTlsRereadInterval, [this] { return is_stopping_; })) {
        lock.unlock();
        const Result<void> renewed = renew();
        std::string now = renewed ? "" : renewed.error().message;
        if (std::exchange(trouble, now) != now && !now.empty()) {
            log_error(now + "; the certificate of before is used on");
        }
        lock.lock();
    }
}

Result<void> TlsRenewal::renew() {
    const std::lock_guard renewing(renewing_);
    const auto material = read_tls(files_, true);
    if (!material) {
        return material.error();
    }
    if (all_of(*material) == in_use_) {
        return {};
    }
    auto context = TlsContext::of_server(*material);
    if (!context) {
        return std::move(context).error();
    }
    auto made = std::make_shared<const TlsContext>(std::move(context).value());
    in_use_ = all_of(*material);
    const std::lock_guard lock(mutex_);
    newest_ = std::move(made);
    return {};
}

}  // namespace penstock::control
