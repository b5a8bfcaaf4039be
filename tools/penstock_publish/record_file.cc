#include "penstock_publish/record_file.h"

#include <fmt/format.h>

#include <cerrno>
#include <fcntl.h>
#include <system_error>
#include <unistd.h>

namespace penstock {
namespace {

Error record_error(ErrorCode code, const std::string& path) {
    return {code,
            fmt::format("cannot record to '{}': {}", path, std::generic_category().message(errno))};
}

}  // namespace

Result<RecordFile> RecordFile::open(const std::string& path) {
    if (path.empty()) {
        return RecordFile(path, UniqueFd());
    }
    UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!fd) {
        return record_error(ErrorCode::invalid_argument, path);
    }
    return RecordFile(path, std::move(fd));
}

Result<void> RecordFile::append(std::span<const std::span<const std::byte>> payloads) {
    if (!fd_) {
        return {};
    }
    joined_.clear();
    for (const std::span<const std::byte> payload : payloads) {
        joined_.insert(joined_.end(), payload.begin(), payload.end());
    }
    for (std::size_t done = 0; done < joined_.size();) {
        const ssize_t count = ::write(fd_.get(), joined_.data() + done, joined_.size() - done);
        if (count < 0 && errno != EINTR) {
            return record_error(ErrorCode::system, path_);
        }
        done += count > 0 ? static_cast<std::size_t>(count) : 0;
    }
    return {};
}

}  // namespace penstock
