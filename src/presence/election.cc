#include "presence/election.h"

#include "base/log.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace penstock::presence {

using std::chrono::milliseconds;

Election::Election(Setting setting,
                   KeyValueService& keys,
                   EtcdStore& store,
                   CommandGate& gate,
                   ElectionEvents& events)
    : setting_(std::move(setting)), keys_(keys), store_(store), gate_(gate), events_(events) {}

milliseconds Election::turn() { return lease_ == 0 ? stand() : renew(); }

milliseconds Election::stand() {
    const Result<ElectionKeys> before = keys_.read();
    if (!before) {
        return trouble(before.error().message);
    }
    if (before->leader.has_value()) {
        follow(before->leader->value);
        return kPoll;
    }
    const BootTime asked_at = setting_.now();
    const Result<LeaseTerms> lease = keys_.grant(kLease);
    if (!lease) {
        return trouble(lease.error().message);
    }
    const Result<ElectionKeys> after = keys_.campaign(setting_.address, lease->id);
    if (!after || !after->leader.has_value()) {
        // It may have been won all the same: without the lease it is not.
        static_cast<void>(keys_.revoke(lease->id));
        return trouble(after ? "etcd: the election has no winner" : after.error().message);
    }
    if (after->leader->lease != lease->id) {
        static_cast<void>(keys_.revoke(lease->id));
        follow(after->leader->value);
        return kPoll;
    }
    return begin(*after->leader, *after, *lease, asked_at);
}

/// The election is won: we lead once our epoch is durable.
milliseconds Election::begin(const KeyValue& leader,
                             const ElectionKeys& keys,
                             const LeaseTerms& lease,
                             BootTime asked_at) {
    const auto give_up = [&](const std::string& why) {
        store_.follow();
        static_cast<void>(keys_.revoke(lease.id));
        return trouble(why);
    };
    Durable facts;
    if (keys.facts.has_value()) {
        const Result<Facts> found = facts_of(keys.facts->value);
        const Result<Durable> durable = found ? from_facts(*found) : Result<Durable>(found.error());
        if (!durable) {
            return give_up(
                fmt::format("the facts in etcd are damaged ({}): restore their key, or "
                            "delete it to begin anew without the drains in it",
                            durable.error().message));
        }
        facts = *durable;
    } else {
        facts = setting_.first_facts();
    }
    const auto revision = static_cast<std::uint64_t>(leader.create_revision);
    const Result<std::uint64_t> epoch = next_epoch(facts, revision);
    if (!epoch) {
        return give_up("the facts in etcd: " + epoch.error().message);
    }
    facts.epoch = *epoch;
    store_.lead(leader.create_revision, keys.facts.has_value() ? keys.facts->mod_revision : 0);
    if (const auto written = store_.write(facts); !written) {
        return give_up(written.error().message);
    }
    lead_until_ = asked_at + lease.length - kMargin;
    if (setting_.now() >= lead_until_) {
        return give_up("etcd answers too slowly to lead by it");
    }
    lease_ = lease.id;
    retry_ = kRetryFirst;
    trouble_.clear();
    has_told_ = false;
    gate_.open_until(lead_until_);
    log_info(fmt::format("leading as {} epoch={}", setting_.address, facts.epoch));
    events_.won(facts);
    return kRenewal;
}

milliseconds Election::renew() {
    const BootTime asked_at = setting_.now();
    if (asked_at >= lead_until_) {
        lose("the lease was not renewed in time");
        return kRetryFirst;
    }
    const Result<std::optional<LeaseTerms>> terms = keys_.keep_alive(lease_);
    if (!terms) {
        if (std::exchange(trouble_, terms.error().message) != terms.error().message) {
            log_warning(fmt::format("{}; leading goes on until the lease ends", trouble_));
        }
        return kRetryFirst;
    }
    if (!terms->has_value()) {
        lose("etcd has ended the lease");
        return kRetryFirst;
    }
    trouble_.clear();
    lead_until_ = asked_at + (*terms)->length - kMargin;
    gate_.open_until(lead_until_);
    return kRenewal;
}

void Election::resign() {
    if (lease_ != 0) {
        lose("it ends");
    }
}

void Election::lose(const std::string& why) {
    gate_.close();
    store_.follow();
    log_warning(fmt::format("not leading any more: {}", why));
    events_.follows("");
    told_.clear();
    has_told_ = true;
    // Only now, when nothing leaves any more.
    static_cast<void>(keys_.revoke(std::exchange(lease_, 0)));
}

void Election::follow(const std::string& leader) {
    retry_ = kRetryFirst;
    trouble_.clear();
    // The key of a life of ours before this one is nobody's.
    const std::string known = leader == setting_.address ? "" : leader;
    if (!std::exchange(has_told_, true) || told_ != known) {
        told_ = known;
        log_info(known.empty() ? std::string("following: nobody leads")
                               : fmt::format("following {}", known));
        events_.follows(known);
    }
}

milliseconds Election::trouble(const std::string& what) {
    if (std::exchange(trouble_, what) != what) {
        log_error(
            fmt::format("{}; this presence server cannot lead meanwhile, trying again", what));
    }
    return std::exchange(retry_, std::min(2 * retry_, kRetryMost));
}

}  // namespace penstock::presence
