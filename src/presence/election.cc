#include "presence/election.h"

#include "base/log.h"
#include "rpc/messages.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace penstock::presence {
namespace {

using std::chrono::milliseconds;

/// Something that may be told to peers: as long as a name, and printable.
bool is_address(const std::string& text) {
    return !text.empty() && text.size() <= control::kNameBytesMax &&
           std::ranges::all_of(text, [](char byte) { return byte > ' ' && byte <= '~'; });
}

/// For how long to trust in a lease: never for longer than we asked for.
std::chrono::seconds length_of(const LeaseTerms& lease) {
    return std::min(lease.length, Election::kLease);
}

}  // namespace

Election::Election(Setting setting,
                   KeyValueService& keys,
                   EtcdStore& store,
                   CommandGate& gate,
                   ElectionEvents& events)
    : setting_(std::move(setting)), keys_(keys), store_(store), gate_(gate), events_(events) {}

milliseconds Election::turn() { return lease_ == 0 ? stand() : renew(); }

milliseconds Election::stand() {
    const Result<ElectionKeys> before = keys_.read(kLease);
    if (!before) {
        return trouble(before.error().message);
    }
    if (before->leader.has_value()) {
        // A leadership of ours that ended while etcd heard nothing: nobody is to wait for it, all
        // the less as a new leader of etcd lets every lease begin again.
        if (before->leader->lease != former_lease_ || !keys_.revoke(*former_lease_)) {
            return follow(before->leader->value);
        }
    }
    const BootTime asked_at = setting_.now();
    const Result<LeaseTerms> lease = keys_.grant(kLease);
    if (!lease) {
        return trouble(lease.error().message);
    }
    former_lease_ = lease->id;  // unless we come to lead by it
    const Result<ElectionKeys> after = keys_.campaign(setting_.address, lease->id);
    if (!after || !after->leader.has_value()) {
        // It may have been won all the same: without the lease it is not.
        static_cast<void>(keys_.revoke(lease->id));
        return trouble(after ? "etcd: the election has no winner" : after.error().message);
    }
    if (after->leader->lease != lease->id) {
        static_cast<void>(keys_.revoke(lease->id));
        return follow(after->leader->value);
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
        return give_up("the key of the facts in etcd: " + epoch.error().message);
    }
    facts.epoch = *epoch;
    store_.lead(
        leader.create_revision, keys.facts.has_value() ? keys.facts->mod_revision : 0, facts.epoch);
    if (const auto written = store_.write(facts); !written) {
        return give_up(written.error().message);
    }
    lead_until_ = asked_at + length_of(lease) - kMargin;
    if (setting_.now() >= lead_until_) {
        return give_up("etcd answers too slowly to lead by it");
    }
    lease_ = lease.id;
    former_lease_.reset();
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
    // Nothing is waited for beyond the end of leading: whoever is silent then is told so.
    const auto left = [this] {
        return std::max(std::chrono::ceil<milliseconds>(lead_until_ - setting_.now()),
                        milliseconds(0));
    };
    const auto not_renewed = [&](const std::string& why) {
        if (std::exchange(trouble_, why) != why) {
            log_warning(fmt::format("{}; leading goes on until the lease ends", why));
        }
        return std::min(kRetryFirst, left());
    };
    const Result<std::optional<LeaseTerms>> terms = keys_.keep_alive(lease_, left());
    if (!terms) {
        return not_renewed(terms.error().message);
    }
    if (!terms->has_value()) {
        lose("etcd has ended the lease");
        return kRetryFirst;
    }
    // The lease may outlive the key that hangs on it, and another may have made that anew.
    const Result<ElectionKeys> keys = keys_.read(left());
    if (!keys) {
        return not_renewed(keys.error().message);
    }
    if (!keys->leader.has_value() || keys->leader->lease != lease_) {
        lose("the leader key is not ours any more");
        return kRetryFirst;
    }
    if (setting_.now() >= lead_until_) {
        lose("the lease was renewed too late");  // commands may have been held back meanwhile
        return kRetryFirst;
    }
    trouble_.clear();
    lead_until_ = asked_at + length_of(**terms) - kMargin;
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
    log_warning(fmt::format("not leading any more: {}", why));
    events_.follows("");  // before the store, which may be in a write that etcd does not answer
    store_.follow();
    told_.clear();
    has_told_ = true;
    // Only now, when nothing leaves any more.
    former_lease_ = std::exchange(lease_, 0);
    static_cast<void>(keys_.revoke(*former_lease_));
}

milliseconds Election::follow(const std::string& leader) {
    if (!is_address(leader)) {
        return trouble("etcd: the key of the leader holds no address: see who else writes there");
    }
    if (leader != setting_.address) {
        namesake_since_.reset();
    } else if (setting_.now() >= namesake_since_.value_or(setting_.now()) + kNamesakeMost) {
        return trouble(
            fmt::format("another presence server leads with our address {}: give each "
                        "its own --advertise or --listen",
                        leader));
    } else if (!namesake_since_.has_value()) {
        namesake_since_ = setting_.now();
    }
    retry_ = kRetryFirst;
    trouble_.clear();
    heard_at_ = setting_.now();
    // The key of a life of ours before this one is nobody's.
    const std::string known = leader == setting_.address ? "" : leader;
    if (!std::exchange(has_told_, true) || told_ != known) {
        told_ = known;
        log_info(known.empty() ? std::string("following: nobody leads")
                               : fmt::format("following {}", known));
        events_.follows(known);
    }
    return kPoll;
}

milliseconds Election::trouble(const std::string& what) {
    if (std::exchange(trouble_, what) != what) {
        log_error(
            fmt::format("{}; this presence server cannot lead meanwhile, trying again", what));
    }
    if (!told_.empty() && setting_.now() >= heard_at_ + kLease) {
        told_.clear();  // it cannot lead any more, unless etcd hears of it
        events_.follows("");
    }
    return std::exchange(retry_, std::min(2 * retry_, kRetryMost));
}

}  // namespace penstock::presence
