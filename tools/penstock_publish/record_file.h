#pragma once

#include "base/unique_fd.h"

#include <penstock/result.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace penstock {

/// The file of --record: payloads one behind the other, to be compared byte for byte.
class RecordFile {
  public:
    /// `path` "": nothing is recorded. Errors: invalid_argument.
    static Result<RecordFile> open(const std::string& path);
    /// Errors: system (disk full, ...).
    Result<void> append(std::span<const std::span<const std::byte>> payloads);

  private:
    RecordFile(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

    std::string path_;
    UniqueFd fd_;
    std::vector<std::byte> joined_;
};

}  // namespace penstock
