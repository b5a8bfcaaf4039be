#include "penstock_publish/pcap_source.h"

#include "base/unique_fd.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace penstock {
namespace {

Result<std::vector<std::byte>> read_file(const std::string& path) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat facts {};
    if (!fd || ::fstat(fd.get(), &facts) != 0) {
        return Error{
            errno == ENOENT ? ErrorCode::not_found : ErrorCode::invalid_argument,
            fmt::format("cannot read '{}': {}", path, std::generic_category().message(errno))};
    }
    if (!S_ISREG(facts.st_mode) ||
        static_cast<std::uint64_t>(facts.st_size) > PcapSource::kFileBytesMax) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("'{}' is not a file of at most 4 GiB; cut it: editcap -c", path)};
    }
    std::vector<std::byte> bytes(static_cast<std::size_t>(facts.st_size));
    std::size_t filled = 0;
    while (filled < bytes.size()) {
        const ssize_t count = ::read(fd.get(), bytes.data() + filled, bytes.size() - filled);
        if (count <= 0) {
            break;
        }
        filled += static_cast<std::size_t>(count);
    }
    bytes.resize(filled);
    return bytes;
}

}  // namespace

Result<std::unique_ptr<Source>> PcapSource::open(const std::string& path,
                                                 std::uint64_t bits_per_second,
                                                 bool loop) {
    Result<std::vector<std::byte>> file = read_file(path);
    if (!file) {
        return file.error();
    }
    Result<PcapReader> reader = PcapReader::open(std::move(file.value()));
    if (!reader) {
        return Error{reader.error().code, fmt::format("'{}': {}", path, reader.error().message)};
    }
    return std::unique_ptr<Source>(
        std::make_unique<PcapSource>(std::move(reader.value()), bits_per_second, loop));
}

PcapSource::PcapSource(PcapReader reader, std::uint64_t bits_per_second, bool loop)
    : reader_(std::move(reader)), loop_(loop) {
    if (bits_per_second > 0) {
        rate_.emplace(bits_per_second);
    }
}

Result<void> PcapSource::start(MonotonicTime now) {
    reader_.rewind();
    next_.reset();
    stamp_.reset();
    due_at_ = now;
    has_given_ = false;
    if (rate_) {
        rate_->start(now);
    }
    return {};
}

void PcapSource::stop(MonotonicTime /*now*/) {}

Result<bool> PcapSource::fetch(MonotonicTime now) {
    while (!next_) {
        Result<std::optional<CapturedDatagram>> read = reader_.next();
        if (!read) {
            return read.error();
        }
        if (!*read) {
            if (!loop_ || !has_given_) {
                return false;
            }
            reader_.rewind();
            stamp_.reset();
            has_given_ = false;
            continue;
        }
        const CapturedDatagram& datagram = **read;
        if (stamp_) {
            const auto gap = std::clamp<std::chrono::nanoseconds>(
                datagram.at - *stamp_, std::chrono::nanoseconds{0}, kGapMost);
            due_at_ += gap;
        }
        stamp_ = datagram.at;
        if (now - due_at_ > RateClock::kBehindMost) {
            due_at_ = now;
        }
        if (datagram.payload.size() > Publisher::kPayloadBytesMax) {
            ++too_long_;
            continue;
        }
        next_ = datagram;
    }
    return true;
}

Result<SourceStep> PcapSource::fill(DatagramBatch& batch, MonotonicTime now) {
    while (!batch.is_full()) {
        const Result<bool> fetched = fetch(now);
        if (!fetched) {
            return fetched.error();
        }
        if (!*fetched) {
            return SourceStep{.next_at = now, .wait_fd = -1, .has_ended = true};
        }
        const bool is_due = rate_ ? rate_->is_due(now) : now >= due_at_;
        if (!is_due) {
            return SourceStep{.next_at = rate_ ? rate_->next_at(now) : due_at_,
                              .wait_fd = -1,
                              .has_ended = false};
        }
        batch.add(next_->payload);
        if (rate_) {
            rate_->sent(next_->payload.size(), now);
        }
        next_.reset();
        has_given_ = true;
    }
    return SourceStep{.next_at = now, .wait_fd = -1, .has_ended = false};
}

std::string PcapSource::take_notice() {
    const std::uint64_t left_out = reader_.frames_left_out() + too_long_;
    if (left_out == 0 || std::exchange(said_left_out_, true)) {
        return {};
    }
    return fmt::format(
        "the capture has frames that are left out: not UDP over IPv4, fragments, cut "
        "short, or above {} bytes of payload",
        Publisher::kPayloadBytesMax);
}

}  // namespace penstock
