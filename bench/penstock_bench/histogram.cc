#include "penstock_bench/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace penstock::bench {
namespace {

// Values below 128 have a bucket each; those of [128 << e, 256 << e) share 128 buckets for every e.
constexpr unsigned kLinearBits = 7;
constexpr std::uint64_t kLinear = std::uint64_t{1} << kLinearBits;
constexpr unsigned kValueBits = 40;
constexpr std::size_t kBuckets = (kValueBits - kLinearBits + 1) * kLinear;
static_assert(std::bit_width(Histogram::kValueMax) == kValueBits);

}  // namespace

Histogram::Histogram() : counts_(kBuckets, 0) {}

std::size_t Histogram::bucket_of(std::uint64_t value) noexcept {
    if (value < kLinear) {
        return value;
    }
    const auto exponent = static_cast<unsigned>(std::bit_width(value)) - kLinearBits - 1;
    return exponent * kLinear + (value >> exponent);
}

std::uint64_t Histogram::highest_in(std::size_t bucket) noexcept {
    if (bucket < kLinear) {
        return bucket;
    }
    const std::uint64_t exponent = bucket / kLinear - 1;
    return ((bucket - exponent * kLinear + 1) << exponent) - 1;
}

void Histogram::record(std::uint64_t value) noexcept {
    const std::uint64_t counted = std::min(value, kValueMax);
    ++counts_[bucket_of(counted)];
    ++count_;
    max_ = std::max(max_, counted);
}

void Histogram::add(const Histogram& other) noexcept {
    for (std::size_t bucket = 0; bucket < counts_.size(); ++bucket) {
        counts_[bucket] += other.counts_[bucket];
    }
    count_ += other.count_;
    max_ = std::max(max_, other.max_);
}

void Histogram::clear() noexcept {
    std::fill(counts_.begin(), counts_.end(), 0);
    count_ = 0;
    max_ = 0;
}

std::uint64_t Histogram::percentile(double share) const noexcept {
    if (count_ == 0) {
        return 0;
    }
    const double wanted = std::ceil(std::clamp(share, 0.0, 1.0) * static_cast<double>(count_));
    const auto rank = std::clamp<std::uint64_t>(static_cast<std::uint64_t>(wanted), 1, count_);
    std::uint64_t seen = 0;
    for (std::size_t bucket = 0; bucket < counts_.size(); ++bucket) {
        seen += counts_[bucket];
        if (seen >= rank) {
            return std::min(highest_in(bucket), max_);
        }
    }
    return max_;
}

}  // namespace penstock::bench
