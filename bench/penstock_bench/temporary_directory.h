#pragma once

#include <penstock/result.h>

#include <filesystem>
#include <string>
#include <utility>

namespace penstock::bench {

/// A directory that only this user may enter, removed at the end with everything in it.
class TemporaryDirectory {
  public:
    /// In TMPDIR, or /tmp. Errors: system.
    static Result<TemporaryDirectory> create();
    TemporaryDirectory(TemporaryDirectory&& other) noexcept
        : path_(std::exchange(other.path_, {})) {}
    TemporaryDirectory& operator=(TemporaryDirectory&&) = delete;
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    ~TemporaryDirectory();

    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

  private:
    explicit TemporaryDirectory(std::string path) : path_(std::move(path)) {}
    std::filesystem::path path_;
};

}  // namespace penstock::bench
