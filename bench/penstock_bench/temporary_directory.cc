#include "penstock_bench/temporary_directory.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdlib>
#include <system_error>

namespace penstock::bench {

Result<TemporaryDirectory> TemporaryDirectory::create() {
    std::error_code error;
    std::string name = std::filesystem::temp_directory_path(error) / "penstock-bench-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) {
        return Error{ErrorCode::system,
                     fmt::format("{} cannot be made: {}; point TMPDIR to a directory that can be "
                                 "written",
                                 name,
                                 std::generic_category().message(errno))};
    }
    return TemporaryDirectory(std::move(name));
}

TemporaryDirectory::~TemporaryDirectory() {
    if (!path_.empty()) {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
}

}  // namespace penstock::bench
