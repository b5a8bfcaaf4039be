#pragma once

#include "data_path/stream.h"

#include <cstdint>

namespace penstock {

/// The streams that have something to send, first come, first served. A list through the streams
/// themselves. Thread: their owner worker.
class ActiveStreams {
  public:
    /// At the end, unless it is in the list.
    void append(Stream& stream) noexcept {
        if (stream.active) {
            return;
        }
        stream.active = true;
        stream.next_active = nullptr;
        (last_ == nullptr ? first_ : last_->next_active) = &stream;
        last_ = &stream;
        ++size_;
    }
    /// Only of a list that is not empty.
    Stream& take_first() noexcept {
        Stream& stream = *first_;
        first_ = stream.next_active;
        if (first_ == nullptr) {
            last_ = nullptr;
        }
        stream.active = false;
        --size_;
        return stream;
    }
    void remove(Stream& stream) noexcept;
    [[nodiscard]] std::uint32_t size() const noexcept { return size_; }

  private:
    Stream* first_ = nullptr;
    Stream* last_ = nullptr;
    std::uint32_t size_ = 0;
};

inline void ActiveStreams::remove(Stream& stream) noexcept {
    // Rare (a stream closes) and short: rotate once, leaving it out.
    for (std::uint32_t rest = size_; rest > 0; --rest) {
        Stream& first = take_first();
        if (&first != &stream) {
            append(first);
        }
    }
}

}  // namespace penstock
