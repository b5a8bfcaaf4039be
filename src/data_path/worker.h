#pragma once

#include "data_path/classify.h"
#include "data_path/counters.h"
#include "data_path/mailbox.h"
#include "data_path/owned_streams.h"
#include "data_path/replicate.h"
#include "data_path/rx.h"
#include "data_path/shares.h"
#include "data_path/tx.h"
#include "data_path/worker_config.h"

#include <array>
#include <cstdint>
#include <variant>

namespace penstock {

/// Whether a period has passed, at most once a period.
class Every {
  public:
    explicit Every(std::uint64_t cycles) noexcept : cycles_(cycles) {}
    [[nodiscard]] bool is_due(std::uint64_t now) noexcept {
        if (now - last_ < cycles_) {
            return false;
        }
        last_ = now;
        return true;
    }

  private:
    std::uint64_t cycles_;
    std::uint64_t last_ = 0;
};

/// One poll-mode lcore: rx → classify → stream_ring → replicate → tx, run to completion.
class Worker {
  public:
    Worker(const WorkerConfig& config, Mailbox& mailbox, WorkerCounters& counters) noexcept;
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    /// One turn: takes commands, then a burst through the five steps.
    /// Returns: whether there was anything to do (the idle policy sees only this).
    /// Thread:  the worker's own, always the same one.
    bool run_once() noexcept;

    /// Mbufs of the copy pools that it holds ready for the next copies. While it does not run.
    [[nodiscard]] std::uint32_t ready_mbufs() const noexcept { return tx_.ready(); }

  private:
    void begin_turn() noexcept;
    void end_turn(bool busy) noexcept;
    void sample(bool busy) noexcept;
    void look_at_pool() noexcept;
    void evict_history() noexcept;
    PacketCount apply_commands() noexcept;
    /// As std::visit, which may throw, does: the one that is held is applied.
    template <typename... Commands>
    void apply_any(const std::variant<Commands...>& held) noexcept {
        const auto apply_if = [this](const auto* its) noexcept {
            if (its != nullptr) {
                apply(*its);
            }
        };
        (apply_if(std::get_if<Commands>(&held)), ...);
    }
    PacketCount take_in() noexcept;
    PacketCount take_arrived() noexcept;
    PacketCount take_shared(std::uint8_t owner) noexcept;

    void apply(const OpenStream& open) noexcept;
    void apply(const CloseStream& close) noexcept;
    void apply(const OpenShare& open) noexcept { owned_.add(*open.share); }
    void apply(const CloseShare& close) noexcept;
    void apply(const FeedShare& feed) noexcept { replicate_.feed_share(feed); }
    void apply(const StopShare& stop) noexcept { replicate_.stop_share(stop); }
    void apply(const SetPublisher& set) noexcept;
    void apply(const GrowFlows& grow) noexcept;
    void apply(const AddFlow& add) noexcept { replicate_.add_flow(add, now_, tsc_hz_); }
    void apply(const RemoveFlow& remove) noexcept { replicate_.remove_flow(remove); }
    void apply(const UpdateFlow& update) noexcept { replicate_.update_flow(update); }

    const WorkerConfig config_;
    Mailbox& mailbox_;
    WorkerCounters& counters_;
    Rx rx_;
    Classify classify_;
    Tx tx_;
    Replicate replicate_;
    OwnedStreams owned_;

    static constexpr std::uint64_t kPublicationsPerSecond = 10'000;
    static constexpr std::uint64_t kSamplesPerSecond = 1'000;
    const std::uint64_t tsc_hz_;
    Every publication_;
    Every sampling_;
    std::uint64_t turn_began_;
    Ticks now_ = 0;
    bool was_busy_ = false;
    std::uint32_t turns_without_rx_ = 0;
    bool pool_is_short_ = false;
    PacketCount history_to_evict_ = 0;
    WorkerCommand command_;
    std::array<SharedPacket, kRxBurstPackets> shared_;
};

}  // namespace penstock
