#pragma once

namespace penstock {

/// Prints `file:line: check failed: condition` to standard error and aborts.
[[noreturn]] void check_failed(const char* condition, const char* file, int line) noexcept;

}  // namespace penstock

/// Our own bug if it does not hold: aborts, also in release builds.
#define PENSTOCK_CHECK(condition) \
    ((condition) ? void() : ::penstock::check_failed(#condition, __FILE__, __LINE__))

/// The same for per-packet loops: compiled only into debug and test builds.
#ifdef PENSTOCK_DEBUG_CHECKS
#define PENSTOCK_DCHECK(condition) PENSTOCK_CHECK(condition)
#else
#define PENSTOCK_DCHECK(condition) void(sizeof((condition) ? 1 : 0))
#endif
