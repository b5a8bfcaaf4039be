#pragma once

#include "base/options.h"

#include <penstock/result.h>

#include <functional>
#include <string_view>

namespace penstock::bench {

/// What every sub-command does: parses, checks what was written (`fill`), runs. Says on standard
/// error, in one line, what went wrong. Returns: the exit status.
int run_command(std::string_view program,
                Options& options,
                int argc,
                const char* const* argv,
                const std::function<Result<void>()>& fill,
                const std::function<Result<void>()>& run);

}  // namespace penstock::bench
