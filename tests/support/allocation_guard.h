#pragma once

#include <cstdint>

namespace penstock {

/// Counts what this thread takes from the heap (malloc and everything built on it, operator new
/// included) while it lives. A program that uses it links allocation_guard.cc, which stands in
/// front of malloc.
class AllocationGuard {
  public:
    AllocationGuard() noexcept;
    [[nodiscard]] std::uint64_t allocations() const noexcept;

  private:
    std::uint64_t before_;
};

}  // namespace penstock
