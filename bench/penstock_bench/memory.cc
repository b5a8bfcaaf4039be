// penstock-bench memory: what a flow costs, counted by installing many.
#include "base/options.h"
#include "penstock_bench/child.h"
#include "penstock_bench/commands.h"
#include "penstock_bench/environment.h"
#include "penstock_bench/relay_options.h"
#include "penstock_bench/report.h"
#include "penstock_bench/run_command.h"
#include "rig/relay_rig.h"

#include <fmt/format.h>
#include <rte_lcore.h>
#include <rte_malloc.h>

#include <malloc.h>

namespace penstock::bench {
namespace {

constexpr const char* kProgram = "penstock-bench memory";
/// The first flows pay for what there is once: the two counts differ by `--flows` exactly.
constexpr std::uint32_t kFirstFlows = 1'000;

/// Bytes that streams and flows take.
struct MemoryUse {
    std::uint64_t shared_with_worker;  // DPDK's heap
    std::uint64_t control;             // the process's own
};

MemoryUse memory_in_use() {
    MemoryUse use{};
    for (unsigned i = 0; i < rte_socket_count(); ++i) {
        rte_malloc_socket_stats stats{};
        rte_malloc_get_socket_stats(rte_socket_id_by_idx(i), &stats);
        use.shared_with_worker += stats.heap_allocsz_bytes;
    }
    const struct mallinfo2 own = mallinfo2();
    use.control = own.uordblks + own.hblkhd;
    return use;
}

Result<MemoryUse> use_with(const RelayOptions& relay, std::uint32_t flows) {
    RigOptions options = relay.rig(1, false);
    options.ports = {"net_null0,no-rx=1"};
    options.consumers = flows;
    auto rig = RelayRig::create(options);
    if (!rig) {
        return std::move(rig).error();
    }
    // The pools are there already: they take what the flows will leave.
    const MemoryUse before = memory_in_use();
    if (auto started = (*rig)->start(); !started) {
        return std::move(started).error();
    }
    MemoryUse use = memory_in_use();
    use.shared_with_worker -= before.shared_with_worker;
    use.control -= before.control;
    if (auto stopped = (*rig)->stop(); !stopped) {
        return std::move(stopped).error();
    }
    return use;
}

Result<void> run(const RelayOptions& relay, std::uint64_t flows, const Output& output) {
    const auto few = in_child<MemoryUse>(patience_for(relay.trials()),
                                         [&] { return use_with(relay, kFirstFlows); });
    if (!few) {
        return few.error();
    }
    const auto more = static_cast<std::uint32_t>(kFirstFlows + flows);
    const auto many =
        in_child<MemoryUse>(patience_for(relay.trials()), [&] { return use_with(relay, more); });
    if (!many) {
        return many.error();
    }
    const auto count = static_cast<double>(flows);
    const double worker =
        static_cast<double>(many->shared_with_worker - few->shared_with_worker) / count;
    const double control = static_cast<double>(many->control - few->control) / count;
    Report report{.benchmark = "memory",
                  .environment = environment_of(relay.worker_cpus()),
                  .rows = {{{"flows", flows},
                            {"hot_bytes_per_flow", std::uint64_t{sizeof(FlowHeaders)}},
                            {"worker_bytes_per_flow", worker},
                            {"control_bytes_per_flow", control},
                            {"bytes_per_flow", worker + control}}}};
    output.say(text_of(report.environment));
    output.say(
        fmt::format("each of {} flows: {:.1f} bytes, of which\n"
                    "  {:6.1f}  the worker may touch, {} of them for every copy\n"
                    "  {:6.1f}  are the control thread's table of flows",
                    flows,
                    worker + control,
                    worker,
                    sizeof(FlowHeaders),
                    control));
    return output.write(report);
}

}  // namespace

int run_memory(int argc, const char* const* argv) {
    std::uint64_t flows = 100'000;
    RelayOptions relay({.trials = 1, .trial_time = {}, .warm_up = {}});
    Output output;
    Options options(kProgram, "how much memory a flow takes");
    options.number("flows", flows, 1'000, 1'000'000, "flows to install");
    relay.add_to(options);
    output.add_to(options);
    const auto fill = [&]() -> Result<void> {
        if (auto checked = relay.check(1); !checked) {
            return checked;
        }
        return output.open();
    };
    return run_command(
        kProgram, options, argc, argv, fill, [&] { return run(relay, flows, output); });
}

}  // namespace penstock::bench
