#include "data_server/counters_log.h"

#include "base/log.h"
#include "data_server/drop_reason_texts.h"
#include "data_server/machine.h"
#include "data_server/workers.h"

#include <fmt/format.h>

#include <array>
#include <iterator>
#include <string>

namespace penstock {
namespace {

std::array<std::uint64_t, kDropReasonCount> drops_of(const Workers& workers) {
    std::array<std::uint64_t, kDropReasonCount> drops{};
    for (std::size_t worker = 0; worker < workers.count(); ++worker) {
        for (std::size_t reason = 0; reason < drops.size(); ++reason) {
            drops[reason] += workers.counters(worker).drops[reason].read();
        }
    }
    return drops;
}

struct PoolTrouble {
    std::uint64_t found_short = 0;
    std::uint64_t evicted = 0;
};

PoolTrouble pool_trouble_of(const Workers& workers) {
    PoolTrouble trouble;
    for (std::size_t worker = 0; worker < workers.count(); ++worker) {
        trouble.found_short += workers.counters(worker).pool_short.read();
        trouble.evicted += workers.counters(worker).pool_evicted.read();
    }
    return trouble;
}

/// " name=3 name=4", without those that are 0.
template <typename Counts, typename Texts>
std::string nonzero(const Counts& counts, const Texts& texts) {
    std::string line;
    for (std::size_t i = 0; i < counts.size(); ++i) {
        if (counts[i] > 0) {
            fmt::format_to(std::back_inserter(line), " {}={}", texts[i].name, counts[i]);
        }
    }
    return line.empty() ? " none" : line;
}

}  // namespace

void CountersLog::write() const {
    write_drops();
    write_sessions();
    write_pool();
    write_ports();
}

void CountersLog::write_trouble() {
    const std::uint64_t troubles = this->troubles();
    if (troubles != told_) {
        told_ = troubles;
        write_drops();
        write_sessions();
    }
    const PoolTrouble pool = pool_trouble_of(workers_);
    if (pool.found_short != pool_told_) {
        pool_told_ = pool.found_short;
        log_warning(
            fmt::format("the packet pool is short: {} packets of history evicted so far to "
                        "receive new ones; give more --memory or lower --ring-packets",
                        pool.evicted));
        write_pool();
    }
}

std::uint64_t CountersLog::troubles() const {
    std::uint64_t sum = 0;
    for (const std::uint64_t drops : drops_of(workers_)) {
        sum += drops;
    }
    const auto& events = sessions_.all();
    for (std::size_t i = static_cast<std::size_t>(SessionEvent::malformed); i < events.size();
         ++i) {
        sum += events[i];
    }
    return sum;
}

void CountersLog::write_drops() const {
    log_info(fmt::format("drops:{}", nonzero(drops_of(workers_), kDropReasonTexts)));
}

void CountersLog::write_sessions() const {
    log_info(fmt::format("session messages:{}", nonzero(sessions_.all(), kSessionEventTexts)));
}

void CountersLog::write_pool() const {
    const PoolTrouble trouble = pool_trouble_of(workers_);
    const std::uint32_t in_use = machine_.payloads.in_use();
    log_info(fmt::format("packet pool: packets={} free={} low={} found_short={} history_evicted={}",
                         machine_.plan.payload_mbufs,
                         machine_.plan.payload_mbufs - in_use,
                         machine_.plan.payloads_low,
                         trouble.found_short,
                         trouble.evicted));
}

void CountersLog::write_ports() const {
    for (std::size_t i = 0; i < machine_.ports.size(); ++i) {
        std::uint64_t received = 0;
        std::uint64_t sent = 0;
        std::uint64_t unsent = 0;
        for (std::size_t worker = 0; worker < workers_.count(); ++worker) {
            const PortCounters& counters = workers_.counters(worker).ports[i];
            received += counters.rx_packets.read();
            sent += counters.tx_packets.read();
            unsent += counters.tx_unsent.read();
        }
        const ExceptionTap& tap = machine_.taps[i];
        log_info(fmt::format(
            "port {}: received={} sent={} unsent={}; {}: to_linux={} refused={} from_linux={}",
            machine_.ports[i].info().name,
            received,
            sent,
            unsent,
            tap.name(),
            tap.frames_to_linux(),
            tap.frames_refused(),
            tap.frames_from_linux()));
    }
}

}  // namespace penstock
