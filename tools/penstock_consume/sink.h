#pragma once

#include "base/net_address.h"
#include "base/unique_fd.h"

#include <penstock/consumer.h>
#include <penstock/result.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <sys/socket.h>
#include <vector>

namespace penstock {

/// Where content goes. Writing happens in the loop that receives: a slow reader holds it up, the
/// socket overflows, and that is reported. Thread: one.
class Sink {
  public:
    virtual ~Sink() = default;
    Sink(const Sink&) = delete;
    Sink& operator=(const Sink&) = delete;

    /// Takes all of them, in order. Errors: system (disk full, reader gone).
    virtual Result<void> write(std::span<const Datagram> datagrams) = 0;
    /// Whether a few milliseconds of delay harm nobody, so that datagrams may be gathered.
    [[nodiscard]] virtual bool may_gather() const noexcept { return true; }

  protected:
    Sink() = default;
};

/// --stats: nowhere.
class NullSink final : public Sink {
  public:
    Result<void> write(std::span<const Datagram> /*datagrams*/) override { return {}; }
};

/// A file or standard output.
class FileSink final : public Sink {
  public:
    /// `path` "-": standard output. `stop_requested` ends a write that waits for a slow reader.
    /// Errors: invalid_argument.
    static Result<std::unique_ptr<Sink>> open(const std::string& path,
                                              const std::atomic<bool>& stop_requested);
    Result<void> write(std::span<const Datagram> datagrams) override;
    [[nodiscard]] bool may_gather() const noexcept override { return static_cast<bool>(file_); }

  private:
    FileSink(std::string name, UniqueFd file, const std::atomic<bool>& stop_requested)
        : name_(std::move(name)), file_(std::move(file)), stop_requested_(stop_requested) {}

    std::string name_;
    UniqueFd file_;  // none: standard output
    const std::atomic<bool>& stop_requested_;
    std::vector<std::byte> joined_;
};

/// A UDP port, one datagram for each.
class UdpSink final : public Sink {
  public:
    /// Errors: system.
    static Result<std::unique_ptr<Sink>> open(const Endpoint& to);
    /// What the kernel refuses (nobody listens) is lost, as on any network.
    Result<void> write(std::span<const Datagram> datagrams) override;
    [[nodiscard]] bool may_gather() const noexcept override { return false; }

  private:
    explicit UdpSink(UniqueFd socket) : socket_(std::move(socket)) {}

    static constexpr std::size_t kBurst = 64;
    UniqueFd socket_;
    std::array<mmsghdr, kBurst> headers_{};
    std::array<iovec, kBurst> vectors_{};
};

}  // namespace penstock
