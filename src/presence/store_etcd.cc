#include "presence/store_etcd.h"

#include <fmt/format.h>

#include <string>

namespace penstock::presence {
namespace {

Error not_leading() {
    return {ErrorCode::denied,
            "nothing is written to etcd: this presence server does not lead any more"};
}

}  // namespace

void EtcdStore::lead(std::int64_t create_revision, std::int64_t mod_revision, std::uint64_t epoch) {
    const std::lock_guard lock(mutex_);
    create_revision_ = create_revision;
    mod_revision_ = mod_revision;
    epoch_ = epoch;
}

void EtcdStore::follow() {
    const std::lock_guard lock(mutex_);
    create_revision_ = 0;
}

Result<void> EtcdStore::write(const Durable& durable) {
    const std::lock_guard lock(mutex_);
    if (create_revision_ != 0 && durable.epoch < epoch_) {
        return Error{ErrorCode::denied,
                     fmt::format("facts of epoch {} are not written to etcd: this presence server "
                                 "leads in epoch {} by now",
                                 durable.epoch,
                                 epoch_)};
    }
    const std::string text = to_text(to_facts(durable));
    // A second time: after a write whose answer was lost, the facts may be newer than we know.
    for (int attempt = 0; attempt < 2; ++attempt) {
        if (create_revision_ == 0) {
            return not_leading();
        }
        const Result<ElectionKeys> holds = keys_.write_facts(text, create_revision_, mod_revision_);
        if (!holds) {
            return Error{holds.error().code,
                         fmt::format("cannot write facts to {}; see that most members of the "
                                     "cluster are up",
                                     holds.error().message)};
        }
        if (!holds->leader.has_value() || holds->leader->create_revision != create_revision_) {
            return not_leading();
        }
        mod_revision_ = holds->facts.has_value() ? holds->facts->mod_revision : 0;
        if (holds->facts.has_value() && holds->facts->value == text) {
            return {};
        }
    }
    return Error{ErrorCode::system,
                 "the facts in etcd change although this presence server leads: see who else "
                 "writes there"};
}

}  // namespace penstock::presence
