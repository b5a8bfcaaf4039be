#pragma once

namespace penstock::bench {

/// What this program was built from, by `git describe`; "unknown" outside a clone.
extern const char* const kCommit;

}  // namespace penstock::bench
