// The parts of the data path, and the choice of a data server, each measured alone.
#include "micro/surroundings.h"
#include "penstock_bench/commit.h"

#include <benchmark/benchmark.h>

#include <cstdio>

int main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
        return 1;
    }
    const auto surroundings = penstock::bench::Surroundings::create();
    if (!surroundings) {
        std::fprintf(stderr, "penstock-bench-micro: %s\n", surroundings.error().message.c_str());
        return 1;
    }
    benchmark::AddCustomContext("commit", penstock::bench::kCommit);
    penstock::bench::register_classify(**surroundings);
    penstock::bench::register_stream_ring(**surroundings);
    penstock::bench::register_replicate(**surroundings);
    penstock::bench::register_least_busy(**surroundings);
    penstock::bench::register_presence_core(**surroundings);
    const bool any = benchmark::RunSpecifiedBenchmarks() > 0;
    benchmark::Shutdown();
    return any && !(*surroundings)->any_failed() ? 0 : 1;
}
