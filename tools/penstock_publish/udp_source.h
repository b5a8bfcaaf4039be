#pragma once

#include "base/net_address.h"
#include "base/unique_fd.h"
#include "penstock_publish/source.h"

#include <array>
#include <cstdint>
#include <memory>
#include <sys/socket.h>

namespace penstock {

/// A local UDP port: every datagram that arrives is published as it is. What arrives while nothing
/// is wanted is thrown away.
class UdpSource final : public Source {
  public:
    /// Port 0: one chosen by the system, see local(). Errors: system, naming the address.
    static Result<std::unique_ptr<UdpSource>> open(const Endpoint& local);

    Result<void> start(MonotonicTime now) override;
    void stop(MonotonicTime now) override;
    Result<SourceStep> fill(DatagramBatch& batch, MonotonicTime now) override;
    std::string take_notice() override;

    [[nodiscard]] Result<Endpoint> local() const;

  private:
    explicit UdpSource(UniqueFd socket);
    std::size_t receive();

    // One byte more than may be published, so that a longer datagram is told from one that fits.
    static constexpr std::size_t kRoomBytes = Publisher::kPayloadBytesMax + 1;

    UniqueFd socket_;
    std::array<std::array<std::byte, kRoomBytes>, DatagramBatch::kDatagramsMax> buffers_{};
    std::array<mmsghdr, DatagramBatch::kDatagramsMax> headers_{};
    std::array<iovec, DatagramBatch::kDatagramsMax> vectors_{};
    std::uint64_t too_long_ = 0;
    bool said_too_long_ = false;
};

}  // namespace penstock
