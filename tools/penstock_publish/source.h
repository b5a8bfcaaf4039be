#pragma once

#include "base/clock.h"

#include <penstock/publisher.h>
#include <penstock/result.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>

namespace penstock {

/// Datagrams that are to be sent now: made once, filled again and again.
class DatagramBatch {
  public:
    static constexpr std::size_t kDatagramsMax = 64;

    void clear() noexcept { count_ = 0; }
    [[nodiscard]] std::size_t size() const noexcept { return count_; }
    [[nodiscard]] bool is_full() const noexcept { return count_ == kDatagramsMax; }

    /// Room for the next datagram, which add(n) takes into the batch; only if not is_full().
    std::span<std::byte> room() noexcept { return buffers_[count_]; }
    void add(std::size_t bytes) noexcept {
        views_[count_] = std::span(buffers_[count_]).first(bytes);
        ++count_;
    }
    /// A copy of `payload`, at most Publisher::kPayloadBytesMax bytes.
    void add(std::span<const std::byte> payload) noexcept {
        std::memcpy(room().data(), payload.data(), payload.size());
        add(payload.size());
    }
    [[nodiscard]] std::span<const std::span<const std::byte>> datagrams() const noexcept {
        return std::span(views_).first(count_);
    }

  private:
    std::array<std::array<std::byte, Publisher::kPayloadBytesMax>, kDatagramsMax> buffers_{};
    std::array<std::span<const std::byte>, kDatagramsMax> views_{};
    std::size_t count_ = 0;
};

/// What a source has to say beside the datagrams it gave.
struct SourceStep {
    MonotonicTime next_at = MonotonicTime::max();  // ask again then,
    int wait_fd = -1;                              // or when this can be read
    bool has_ended = false;                        // nothing comes any more
};

/// Where content comes from. Thread: the tool's one.
class Source {
  public:
    virtual ~Source() = default;
    Source(const Source&) = delete;
    Source& operator=(const Source&) = delete;

    /// START: somebody wants content from now on.
    virtual Result<void> start(MonotonicTime now) = 0;
    /// STOP: no more.
    virtual void stop(MonotonicTime now) = 0;
    /// Adds the datagrams that are due to an empty batch; never blocks.
    virtual Result<SourceStep> fill(DatagramBatch& batch, MonotonicTime now) = 0;
    /// Work that goes on while nothing is wanted, such as burying a command.
    /// Returns: when to call it again.
    virtual MonotonicTime tend(MonotonicTime /*now*/) { return MonotonicTime::max(); }
    /// One line for the user, once each; "" if there is none.
    virtual std::string take_notice() { return {}; }

  protected:
    Source() = default;
};

}  // namespace penstock
