#include "penstock_publish/file_source.h"

#include <fmt/format.h>

#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace penstock {
namespace {

constexpr std::size_t kChunkBytes = 64U << 10U;
constexpr std::size_t kRecognisedPackets = 5;  // sync bytes in a row that make a transport stream
constexpr std::size_t kRecognisedBytes = kTsPacketBytes * (kRecognisedPackets + 1);

Error file_error(const std::string& path, int number) {
    return {number == ENOENT ? ErrorCode::not_found : ErrorCode::invalid_argument,
            fmt::format("cannot read '{}': {}", path, std::generic_category().message(number))};
}

}  // namespace

Result<std::unique_ptr<Source>> FileSource::open(const FileSourceOptions& options) {
    std::unique_ptr<FileSource> source(new FileSource(options));
    if (!source->is_standard_input()) {
        // Looked into now, so that a wrong file is an error at once and not at the first START.
        const Result<void> opened = source->start({});
        if (!opened) {
            return opened.error();
        }
        while (!source->packetiser_) {
            const Result<Got> got = source->read_some();
            const Result<bool> recognised =
                got ? source->recognise(*got == Got::end) : Result<bool>(got.error());
            if (!recognised) {
                return recognised.error();
            }
        }
        source->stop({});
    }
    return std::unique_ptr<Source>(std::move(source));
}

Result<void> FileSource::open_file() {
    file_ = UniqueFd(::open(options_.path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file_) {
        return file_error(options_.path, errno);
    }
    struct stat facts {};
    if (::fstat(file_.get(), &facts) == 0 && S_ISDIR(facts.st_mode)) {
        return file_error(options_.path, EISDIR);
    }
    return {};
}

Result<void> FileSource::start(MonotonicTime now) {
    chunk_.resize(kChunkBytes);
    packetiser_.reset();
    unrecognised_.clear();
    at_end_ = has_given_ = starved_ = false;
    begin_.reset();
    rate_.reset();
    if (options_.bits_per_second > 0) {
        rate_.emplace(options_.bits_per_second);
        rate_->start(now);
    }
    return is_standard_input() ? Result<void>{} : open_file();
}

void FileSource::stop(MonotonicTime /*now*/) { file_.reset(); }

Result<FileSource::Got> FileSource::read_some() {
    pollfd polled{.fd = fd(), .events = POLLIN, .revents = 0};
    if (::poll(&polled, 1, 0) == 0) {
        return Got::nothing_yet;
    }
    const ssize_t count = ::read(fd(), chunk_.data(), chunk_.size());
    if (count < 0) {
        if (errno == EAGAIN || errno == EINTR) {
            return Got::nothing_yet;
        }
        return file_error(is_standard_input() ? "standard input" : options_.path, errno);
    }
    if (count == 0) {
        return Got::end;
    }
    const std::span<const std::byte> bytes =
        std::span(chunk_).first(static_cast<std::size_t>(count));
    if (packetiser_) {
        packetiser_->push(bytes);
    } else {
        unrecognised_.insert(unrecognised_.end(), bytes.begin(), bytes.end());
    }
    return Got::bytes;
}

Result<bool> FileSource::recognise(bool at_end) {
    if (packetiser_) {
        return true;
    }
    if (unrecognised_.size() < kRecognisedBytes && !at_end) {
        return false;
    }
    const bool is_ts = find_ts_sync(unrecognised_, kRecognisedPackets).has_value();
    if (!is_ts && options_.bits_per_second == 0) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("'{}' is not MPEG-TS, so it has no clock of its own; give --rate, "
                                 "like --rate 20Mbit",
                                 options_.path)};
    }
    if (!is_ts) {
        packetiser_ = std::make_unique<OpaquePacketiser>(options_.payload_bytes);
    } else if (options_.bits_per_second > 0) {
        packetiser_ = std::make_unique<TsPacketiser>();
    } else {
        packetiser_ = std::make_unique<TsPacer>();
        has_clock_ = true;
    }
    packetiser_->push(unrecognised_);
    unrecognised_.clear();
    return true;
}

void FileSource::give_due(DatagramBatch& batch, MonotonicTime now) {
    while (!packetiser_->empty() && !batch.is_full()) {
        const PacedDatagram& datagram = packetiser_->front();
        if (rate_) {
            if (!rate_->is_due(now)) {
                return;
            }
            rate_->sent(datagram.bytes, now);
        } else {
            const bool is_late =
                begin_ && now - (*begin_ + datagram.at) >
                              (starved_ ? std::chrono::nanoseconds{0} : kBehindMost);
            if (!begin_ || is_late) {
                begin_ = now - datagram.at;
            }
            starved_ = false;
            if (now < *begin_ + datagram.at) {
                return;
            }
        }
        batch.add(datagram.payload());
        packetiser_->pop();
        has_given_ = true;
    }
}

MonotonicTime FileSource::next_at(MonotonicTime now) const {
    return rate_ ? rate_->next_at(now) : *begin_ + packetiser_->front().at;
}

Result<SourceStep> FileSource::fill(DatagramBatch& batch, MonotonicTime now) {
    while (true) {
        if (packetiser_) {
            give_due(batch, now);
            if (batch.is_full()) {
                return SourceStep{.next_at = now, .wait_fd = -1, .has_ended = false};
            }
            if (!packetiser_->empty()) {
                return SourceStep{.next_at = next_at(now), .wait_fd = -1, .has_ended = false};
            }
            if (at_end_) {
                const Result<bool> again = begin_again();
                if (!again) {
                    return again.error();
                }
                if (!*again) {
                    return SourceStep{.next_at = now, .wait_fd = -1, .has_ended = true};
                }
            }
        }
        const Result<Got> got = read_some();
        if (!got) {
            return got.error();
        }
        if (*got == Got::nothing_yet) {
            starved_ = true;
            return SourceStep{.next_at = MonotonicTime::max(), .wait_fd = fd(), .has_ended = false};
        }
        at_end_ = *got == Got::end;
        const Result<bool> recognised = recognise(at_end_);
        if (!recognised) {
            return recognised.error();
        }
        if (at_end_) {
            packetiser_->finish();
        }
    }
}

Result<bool> FileSource::begin_again() {
    const bool may_loop = options_.loop && !is_standard_input() && has_given_;
    if (!may_loop) {
        return false;
    }
    has_given_ = false;
    at_end_ = false;
    if (::lseek(file_.get(), 0, SEEK_SET) != 0) {
        return file_error(options_.path, errno);
    }
    return true;
}

}  // namespace penstock
