#pragma once

#include "penstock_publish/pcap_reader.h"
#include "penstock_publish/rate_clock.h"
#include "penstock_publish/source.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace penstock {

/// The UDP payloads of a capture, in their original timing or at a steady rate; from the beginning
/// with every START.
class PcapSource final : public Source {
  public:
    /// Stamps farther apart than this (a pause of the capture, a clock that was set) are a pause of
    /// this length; stamps that go back are none.
    static constexpr std::chrono::seconds kGapMost{10};
    static constexpr std::uint64_t kFileBytesMax = 4ULL << 30U;

    /// `bits_per_second` 0: original timing. Errors: not_found, invalid_argument.
    static Result<std::unique_ptr<Source>> open(const std::string& path,
                                                std::uint64_t bits_per_second,
                                                bool loop);
    PcapSource(PcapReader reader, std::uint64_t bits_per_second, bool loop);

    Result<void> start(MonotonicTime now) override;
    void stop(MonotonicTime now) override;
    Result<SourceStep> fill(DatagramBatch& batch, MonotonicTime now) override;
    std::string take_notice() override;

  private:
    /// Fetches next_ if it is empty, and when it is due. False at the end.
    Result<bool> fetch(MonotonicTime now);

    PcapReader reader_;
    std::optional<RateClock> rate_;
    const bool loop_;
    std::optional<CapturedDatagram> next_;
    MonotonicTime due_at_{};
    std::optional<std::chrono::nanoseconds> stamp_;  // of the one before
    bool has_given_ = false;                         // since the pass began
    std::uint64_t too_long_ = 0;
    bool said_left_out_ = false;
};

}  // namespace penstock
