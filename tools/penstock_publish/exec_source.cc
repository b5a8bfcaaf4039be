#include "penstock_publish/exec_source.h"

#include "base/units.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <unistd.h>
#include <utility>

namespace penstock {
namespace {

constexpr std::size_t kChunkBytes = 64U << 10U;
constexpr std::size_t kRecognisedPackets = 2;  // a live command shall not wait for more

}  // namespace

ExecSource::ExecSource(std::string command, std::size_t payload_bytes)
    : command_(std::move(command)), payload_bytes_(payload_bytes), chunk_(kChunkBytes) {}

Result<void> ExecSource::start(MonotonicTime now) {
    is_wanted_ = true;
    run_at_ = now;
    restart_pause_ = kRestartFirst;
    return run_if_due(now);
}

void ExecSource::stop(MonotonicTime now) {
    is_wanted_ = false;
    if (child_) {
        child_->end(now);
    }
    tend(now);
}

Result<void> ExecSource::run_if_due(MonotonicTime now) {
    if (!is_wanted_ || child_ || now < run_at_) {
        return {};
    }
    Result<ChildProcess> child = ChildProcess::start(command_);
    if (!child) {
        return child.error();
    }
    child_.emplace(std::move(child.value()));
    ran_at_ = now;
    output_ended_ = has_unsent_ = false;
    packetiser_.reset();
    unrecognised_.clear();
    return {};
}

MonotonicTime ExecSource::tend(MonotonicTime now) {
    if (!child_) {
        return is_wanted_ ? run_at_ : MonotonicTime::max();
    }
    if (!child_->tend(now)) {
        const bool is_going = child_->is_ending() || output_ended_;
        return is_going ? now + ChildProcess::kLookInterval : MonotonicTime::max();
    }
    on_end(now);
    return is_wanted_ ? run_at_ : MonotonicTime::max();
}

void ExecSource::on_end(MonotonicTime now) {
    const std::string ending = child_->ending();
    const bool was_told = child_->is_ending();
    if (!was_told) {
        // Its last words are still in the pipe, which holds a bounded amount.
        while (!output_ended_ && read_output(now) == Got::bytes) {
        }
    }
    child_.reset();
    if (was_told || !is_wanted_) {
        return;
    }
    if (now - ran_at_ >= kGoodRun) {
        restart_pause_ = kRestartFirst;
    }
    run_at_ = now + restart_pause_;
    notice_ = fmt::format(
        "the command ended by itself ({}) while its content is wanted; it is run "
        "again in {}",
        ending,
        format_duration(restart_pause_));
    restart_pause_ = std::min(restart_pause_ * 2, kRestartMost);
}

ExecSource::Got ExecSource::read_output(MonotonicTime now) {
    const ssize_t count = ::read(child_->output(), chunk_.data(), chunk_.size());
    if (count == 0) {
        recognise(true);
        packetiser_->finish();
        has_unsent_ = false;
        return Got::end;
    }
    if (count < 0) {
        return errno == EAGAIN || errno == EINTR ? Got::nothing_yet : Got::end;
    }
    const auto bytes = std::span<const std::byte>(chunk_).first(static_cast<std::size_t>(count));
    read_at_ = now;
    has_unsent_ = true;
    if (packetiser_) {
        packetiser_->push(bytes);
    } else {
        unrecognised_.insert(unrecognised_.end(), bytes.begin(), bytes.end());
        recognise(false);
    }
    return Got::bytes;
}

void ExecSource::recognise(bool at_end) {
    if (packetiser_ || (!at_end && unrecognised_.size() < kTsPacketBytes * kRecognisedPackets)) {
        return;
    }
    if (find_ts_sync(unrecognised_, kRecognisedPackets)) {
        packetiser_ = std::make_unique<TsPacketiser>();
    } else {
        packetiser_ = std::make_unique<OpaquePacketiser>(payload_bytes_);
    }
    packetiser_->push(unrecognised_);
    unrecognised_.clear();
}

Result<SourceStep> ExecSource::fill(DatagramBatch& batch, MonotonicTime now) {
    tend(now);
    const Result<void> running = run_if_due(now);
    if (!running) {
        return running.error();
    }
    if (child_ && !child_->is_ending() && !output_ended_ &&
        (!packetiser_ || packetiser_->empty())) {
        output_ended_ = read_output(now) == Got::end;
        if (has_unsent_ && now - read_at_ >= kFlushAfter) {
            recognise(true);
            packetiser_->flush();
            has_unsent_ = false;
        }
    }
    while (packetiser_ && !packetiser_->empty() && !batch.is_full()) {
        batch.add(packetiser_->front().payload());
        packetiser_->pop();
    }
    return step(batch, now);
}

SourceStep ExecSource::step(const DatagramBatch& batch, MonotonicTime now) const {
    SourceStep step;
    if (!child_) {
        step.next_at = run_at_;
    } else if (child_->is_ending() || output_ended_) {
        step.next_at = now + ChildProcess::kLookInterval;
    } else {
        step.wait_fd = child_->output();
        step.next_at = has_unsent_ ? read_at_ + kFlushAfter : MonotonicTime::max();
    }
    if (batch.is_full() || (packetiser_ && !packetiser_->empty())) {
        step.next_at = now;
    }
    return step;
}

}  // namespace penstock
