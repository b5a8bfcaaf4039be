#pragma once

#include "presence/durable.h"

#include <penstock/result.h>

namespace penstock::presence {

/// Where the durable facts are kept while one presence server leads.
class Store {
  public:
    virtual ~Store() = default;
    /// Replaces all facts at once: whoever opens the store after a crash at any instant finds
    /// either those of before or these.
    /// Returns: once they are durable. Errors: one line with what, why and what to do; whether
    /// these facts or those of before hold is then decided by the next write. Thread: one at a
    /// time.
    virtual Result<void> write(const Durable& durable) = 0;
};

}  // namespace penstock::presence
