#pragma once

#include "penstock_publish/child_process.h"
#include "penstock_publish/packetiser.h"
#include "penstock_publish/source.h"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace penstock {

/// A command that runs only while content is wanted; its standard output is the content, sent as it
/// comes: MPEG-TS in whole packets, seven a datagram, anything else in datagrams of one size. A
/// command that ends by itself is run again, after a pause that grows while it keeps ending.
class ExecSource final : public Source {
  public:
    /// What does not fill a datagram is sent after this long.
    static constexpr std::chrono::milliseconds kFlushAfter{20};
    static constexpr std::chrono::milliseconds kRestartFirst{500};
    static constexpr std::chrono::milliseconds kRestartMost{10'000};
    /// A command that ran this long begins with the shortest pause again.
    static constexpr std::chrono::seconds kGoodRun{10};

    ExecSource(std::string command, std::size_t payload_bytes);

    Result<void> start(MonotonicTime now) override;
    void stop(MonotonicTime now) override;
    Result<SourceStep> fill(DatagramBatch& batch, MonotonicTime now) override;
    MonotonicTime tend(MonotonicTime now) override;
    std::string take_notice() override { return std::exchange(notice_, {}); }

    /// Whether a command is running or still being ended.
    [[nodiscard]] bool has_child() const noexcept { return child_.has_value(); }
    [[nodiscard]] pid_t child_group() const noexcept { return child_ ? child_->group() : 0; }

  private:
    Result<void> run_if_due(MonotonicTime now);
    enum class Got { bytes, nothing_yet, end };
    /// Reads once.
    Got read_output(MonotonicTime now);
    void recognise(bool at_end);
    void on_end(MonotonicTime now);
    SourceStep step(const DatagramBatch& batch, MonotonicTime now) const;

    const std::string command_;
    const std::size_t payload_bytes_;
    std::optional<ChildProcess> child_;
    bool is_wanted_ = false;
    bool output_ended_ = false;
    MonotonicTime run_at_{};  // not before
    MonotonicTime ran_at_{};  // when child_ began
    std::chrono::milliseconds restart_pause_ = kRestartFirst;

    std::unique_ptr<Packetiser> packetiser_;
    std::vector<std::byte> unrecognised_;
    std::vector<std::byte> chunk_;
    MonotonicTime read_at_{};  // when output last came
    bool has_unsent_ = false;  // output came since the last flush
    std::string notice_;
};

}  // namespace penstock
