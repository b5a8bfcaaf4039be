#pragma once

#include "penstock_publish/rate_clock.h"
#include "penstock_publish/source.h"

#include <cstdint>
#include <functional>

namespace penstock {

/// Penstock's own test content (penstock/test_content.h) at a steady rate. The sequence goes on
/// over STOP and START: a consumer that stays sees no gap but the one that there is.
class GenerateSource final : public Source {
  public:
    /// `payload_bytes`: kTestContentBytesMin..Publisher::kPayloadBytesMax. `unix_now_ns`: the wall
    /// clock, for what is written into the content.
    GenerateSource(std::uint64_t bits_per_second,
                   std::size_t payload_bytes,
                   std::uint64_t run,
                   std::function<std::uint64_t()> unix_now_ns);

    Result<void> start(MonotonicTime now) override;
    void stop(MonotonicTime now) override;
    Result<SourceStep> fill(DatagramBatch& batch, MonotonicTime now) override;

  private:
    RateClock clock_;
    const std::size_t payload_bytes_;
    const std::uint64_t run_;
    const std::function<std::uint64_t()> unix_now_ns_;
    std::uint64_t sequence_ = 0;
};

}  // namespace penstock
