#pragma once

#include "base/unique_fd.h"
#include "penstock_publish/packetiser.h"
#include "penstock_publish/rate_clock.h"
#include "penstock_publish/source.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace penstock {

struct FileSourceOptions {
    std::string path;                   // "-": standard input
    std::uint64_t bits_per_second = 0;  // 0: by the content's own clock (MPEG-TS)
    std::size_t payload_bytes = 1316;   // of content that is not MPEG-TS
    bool loop = false;
};

/// A file or standard input, as if it were live. A file begins at its beginning with every START;
/// standard input is not read while nothing is wanted, so its writer waits in the pipe.
class FileSource final : public Source {
  public:
    /// Later than this behind its clock, content is not hurried but its clock set back: the writer
    /// of a pipe is slow, or the machine slept.
    static constexpr std::chrono::milliseconds kBehindMost{200};

    /// Errors: not_found, invalid_argument (cannot be read; no clock and no rate: a file is looked
    /// into at once, standard input when it begins).
    static Result<std::unique_ptr<Source>> open(const FileSourceOptions& options);

    Result<void> start(MonotonicTime now) override;
    void stop(MonotonicTime now) override;
    Result<SourceStep> fill(DatagramBatch& batch, MonotonicTime now) override;

  private:
    explicit FileSource(const FileSourceOptions& options) : options_(options) {}

    [[nodiscard]] bool is_standard_input() const noexcept { return options_.path == "-"; }
    [[nodiscard]] int fd() const noexcept { return is_standard_input() ? 0 : file_.get(); }
    Result<void> open_file();

    enum class Got { bytes, nothing_yet, end };
    /// Reads once, if that does not block.
    Result<Got> read_some();
    /// Chooses how to cut the content, once enough of it is there. False: not enough yet.
    Result<bool> recognise(bool at_end);
    void give_due(DatagramBatch& batch, MonotonicTime now);
    [[nodiscard]] MonotonicTime next_at(MonotonicTime now) const;
    Result<bool> begin_again();  // --loop; false if the file is empty

    const FileSourceOptions options_;
    UniqueFd file_;
    std::unique_ptr<Packetiser> packetiser_;
    std::vector<std::byte> unrecognised_;  // the beginning, until packetiser_ is chosen
    bool has_clock_ = false;               // the content's own
    bool at_end_ = false;
    bool has_given_ = false;  // since this pass began: what loops must give something
    bool starved_ = false;    // the last read found nothing
    std::optional<RateClock> rate_;
    std::optional<MonotonicTime> begin_;  // when a datagram with at == 0 is due
    std::vector<std::byte> chunk_;
};

}  // namespace penstock
