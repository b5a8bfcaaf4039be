#include "data_path/owned_streams.h"

#include "base/check.h"
#include "data_path/replicate.h"
#include "data_path/shares.h"

#include <algorithm>
#include <limits>
#include <optional>

namespace penstock {
namespace {

// Each costs some cache misses where there are many: together at most some 2 % of a worker's time.
constexpr std::uint32_t kPublishFlows = 16;
constexpr std::uint32_t kPublishStreams = 4;
constexpr PacketCount kReleasePackets = 256;
constexpr std::uint32_t kEvictStreams = 32;

/// Publishes up to `flows` flows from where `walk` stands. Returns: how many; fewer than asked for
/// at the end.
std::uint32_t publish(Stream& stream, FlowWalk& walk, std::uint32_t flows) noexcept {
    std::uint32_t published = 0;
    for (; walk.port < stream.port_count; ++walk.port, walk.position = 0) {
        const FlowGroup& group = stream.groups[walk.port];
        // Flows change places between two calls: one may be met twice, another a round later.
        while (walk.position < group.live() + group.catching_up()) {
            if (published == flows) {
                return published;
            }
            Replicate::publish(stream, group.record_at(walk.position));
            ++walk.position;
            ++published;
        }
    }
    return published;
}

/// Age of the oldest packet that no live consumer waits for, here or at a helper; nullopt if there
/// is none.
std::optional<Ticks> history_age(const Stream& stream, Ticks now) noexcept {
    const Sequence oldest = stream.ring.oldest();
    Sequence needed = stream.cursor.sequence;
    if (stream.shares != nullptr) [[unlikely]] {
        needed = std::min(needed, first_not_given(stream));
    }
    if (oldest >= needed) {
        return std::nullopt;
    }
    return now - stream.ring[oldest].arrival_ticks;
}

}  // namespace

void OwnedStreams::add(Stream& stream) noexcept {
    stream.next_owned = first_;
    if (first_ != nullptr) {
        first_->previous_owned = &stream;
    }
    first_ = &stream;
}

void OwnedStreams::publish_some() noexcept {
    for (std::uint32_t streams = 0; streams < kPublishStreams && first_ != nullptr; ++streams) {
        Stream& stream = publishing_ != nullptr ? *publishing_ : *first_;
        Replicate::publish(stream);
        publishing_ = stream.next_owned;
    }
    std::uint32_t left = kPublishFlows;
    for (std::uint32_t streams = 0; streams < kPublishStreams && left > 0; ++streams) {
        if (publishing_flows_ == nullptr) {
            publishing_flows_ = first_;
            publish_at_ = {};
        }
        if (publishing_flows_ == nullptr) {
            return;
        }
        left -= publish(*publishing_flows_, publish_at_, left);
        if (left > 0) {
            publishing_flows_ = publishing_flows_->next_owned;
            publish_at_ = {};
        }
    }
}

void OwnedStreams::begin_eviction() noexcept {
    evicting_ = nullptr;
    age_met_ = std::numeric_limits<Ticks>::max();  // the first round only looks
}

PacketCount OwnedStreams::evict_history(PacketCount packets, Ticks now) noexcept {
    PacketCount evicted = 0;
    for (std::uint32_t looks = 0; looks < kEvictStreams && first_ != nullptr; ++looks) {
        if (evicting_ == nullptr) {
            age_evicted_ = age_met_ - age_met_ / 8;
            age_met_ = 0;
            evicting_ = first_;
        }
        Stream& stream = *evicting_;
        std::optional<Ticks> age = history_age(stream, now);
        for (; age && *age >= age_evicted_ && evicted < packets; ++evicted) {
            stream.ring.release(1);
            age = history_age(stream, now);
        }
        age_met_ = std::max(age_met_, age.value_or(0));
        if (evicted == packets) {
            break;
        }
        evicting_ = stream.next_owned;
    }
    return evicted;
}

void OwnedStreams::begin_close(Stream& stream) noexcept {
    PENSTOCK_CHECK(closing_ == nullptr);
    PENSTOCK_CHECK(stream.previous_owned != nullptr || first_ == &stream);
    (stream.previous_owned != nullptr ? stream.previous_owned->next_owned : first_) =
        stream.next_owned;
    if (stream.next_owned != nullptr) {
        stream.next_owned->previous_owned = stream.previous_owned;
    }
    if (publishing_ == &stream) {
        publishing_ = stream.next_owned;
    }
    if (publishing_flows_ == &stream) {
        publishing_flows_ = stream.next_owned;
        publish_at_ = {};
    }
    if (evicting_ == &stream) {
        evicting_ = stream.next_owned;
    }
    closing_ = &stream;
    close_at_ = {};
}

bool OwnedStreams::close_some() noexcept {
    const PacketCount released = closing_->ring.release(kReleasePackets);
    const std::uint32_t published = publish(*closing_, close_at_, kPublishFlows);
    Replicate::publish(*closing_);
    if (released == kReleasePackets || published == kPublishFlows) {
        return false;
    }
    closing_->counters.consumers.set(0);
    closing_ = nullptr;
    return true;
}

}  // namespace penstock
