#pragma once

#include "penstock_bench/histogram.h"
#include "penstock_bench/stamped_content.h"

#include <cstdint>

namespace penstock::bench {

/// Watches the copies of one stream, packet by packet as they leave, and takes down how long each
/// packet's first and last copy took. All times are TSC cycles. Pure.
class FanOutClock {
  public:
    /// `consumers`: copies of each packet. `on_time`: how late a packet may have been sent that
    /// added() counts.
    FanOutClock(std::uint32_t consumers, std::uint64_t on_time) noexcept
        : consumers_(consumers), on_time_(on_time) {}

    /// One copy was seen at `now`. Those of a packet come behind each other.
    void take(const Stamp& stamp, std::uint64_t now) noexcept;

    /// Packets of which every copy came; only those are in the histograms.
    [[nodiscard]] std::uint64_t complete() const noexcept { return last_.count(); }
    [[nodiscard]] const Histogram& first() const noexcept { return first_; }
    [[nodiscard]] const Histogram& last() const noexcept { return last_; }
    /// Last copy, from when its packet was sent: of packets sent on time. Those sent late came in a
    /// burst that is the sender's and not the relay's.
    [[nodiscard]] const Histogram& added() const noexcept { return added_; }
    [[nodiscard]] const Histogram& skew() const noexcept { return skew_; }  // last minus first
    void clear() noexcept;

  private:
    std::uint32_t consumers_;
    std::uint64_t on_time_;
    std::uint32_t number_ = ~std::uint32_t{0};  // of the packet whose copies come now
    std::uint32_t seen_ = 0;                    // of them
    std::uint64_t first_at_ = 0;
    Histogram first_;
    Histogram last_;
    Histogram added_;
    Histogram skew_;
};

}  // namespace penstock::bench
