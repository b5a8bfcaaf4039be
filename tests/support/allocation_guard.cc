#include "support/allocation_guard.h"

#include <cstddef>

// The names the linker offers for glibc's own, so that ours can count and pass on.
extern "C" {
void* __libc_malloc(std::size_t bytes);                           // NOLINT: glibc's name
void* __libc_calloc(std::size_t count, std::size_t bytes);        // NOLINT: glibc's name
void* __libc_realloc(void* memory, std::size_t bytes);            // NOLINT: glibc's name
void* __libc_memalign(std::size_t alignment, std::size_t bytes);  // NOLINT: glibc's name
}

namespace {
thread_local std::uint64_t allocations_of_thread = 0;
}

// Under a sanitizer malloc is the sanitizer's; the plain build is the one that judges.
#if !defined(__SANITIZE_ADDRESS__)
extern "C" {
void* malloc(std::size_t bytes) {
    ++allocations_of_thread;
    return __libc_malloc(bytes);
}
void* calloc(std::size_t count, std::size_t bytes) {
    ++allocations_of_thread;
    return __libc_calloc(count, bytes);
}
void* realloc(void* memory, std::size_t bytes) {
    ++allocations_of_thread;
    return __libc_realloc(memory, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
    ++allocations_of_thread;
    return __libc_memalign(alignment, bytes);
}
}
#endif

namespace penstock {

AllocationGuard::AllocationGuard() noexcept : before_(allocations_of_thread) {}

std::uint64_t AllocationGuard::allocations() const noexcept {
    return allocations_of_thread - before_;
}

}  // namespace penstock
