#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace penstock::bench {

/// Counts values in buckets that are as wide as 1/128 of what they hold, in the manner of
/// HdrHistogram: all memory is taken at the start, and a percentile is at most 0.8 % too high.
class Histogram {
  public:
    Histogram();

    /// Values beyond kValueMax count as kValueMax. Never allocates.
    void record(std::uint64_t value) noexcept;
    void add(const Histogram& other) noexcept;
    void clear() noexcept;

    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
    [[nodiscard]] std::uint64_t max() const noexcept { return max_; }
    /// The smallest recorded value that `share` (0..1) of all are not above, as the highest value
    /// of its bucket, but at most max(); 0 if there is none.
    [[nodiscard]] std::uint64_t percentile(double share) const noexcept;

    static constexpr std::uint64_t kValueMax = (std::uint64_t{1} << 40U) - 1;

  private:
    static std::size_t bucket_of(std::uint64_t value) noexcept;
    static std::uint64_t highest_in(std::size_t bucket) noexcept;

    std::vector<std::uint64_t> counts_;
    std::uint64_t count_ = 0;
    std::uint64_t max_ = 0;
};

}  // namespace penstock::bench
