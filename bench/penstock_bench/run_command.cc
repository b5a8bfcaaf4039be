#include "penstock_bench/run_command.h"

namespace penstock::bench {

int run_command(std::string_view program,
                Options& options,
                int argc,
                const char* const* argv,
                const std::function<Result<void>()>& fill,
                const std::function<Result<void>()>& run) {
    const auto outcome = options.parse(argc, argv);
    if (!outcome) {
        return fail(program, outcome.error());
    }
    if (*outcome == Options::Outcome::exit) {
        return 0;
    }
    if (const auto filled = fill(); !filled) {
        return fail(program, filled.error());
    }
    if (const auto done = run(); !done) {
        return fail(program, done.error());
    }
    return 0;
}

}  // namespace penstock::bench
