#include "penstock_bench/temporary_directory.h"

#include <gtest/gtest.h>

#include <fstream>

namespace penstock::bench {
namespace {

namespace fs = std::filesystem;

TEST(TemporaryDirectory, IsGoneWithAllThatIsInIt) {
    fs::path path;
    {
        const auto directory = TemporaryDirectory::create();
        ASSERT_TRUE(directory.ok());
        path = directory->path();
        std::ofstream(path / "file") << "content";
        EXPECT_TRUE(fs::exists(path / "file"));
    }
    EXPECT_FALSE(fs::exists(path));
}

TEST(TemporaryDirectory, IsForItsUserAlone) {
    const auto directory = TemporaryDirectory::create();
    ASSERT_TRUE(directory.ok());
    EXPECT_EQ(fs::status(directory->path()).permissions(), fs::perms::owner_all);
}

}  // namespace
}  // namespace penstock::bench
