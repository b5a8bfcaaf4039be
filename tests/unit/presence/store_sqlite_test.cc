#include "presence/store_sqlite.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <array>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <sched.h>
#include <string>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace penstock::presence {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

Durable facts_of_epoch(std::uint64_t epoch) {
    Durable durable;
    durable.epoch = epoch;
    durable.master_key.bytes.fill(static_cast<std::uint8_t>(epoch));
    durable.servers = {"ds1", "ds2"};
    durable.duties = {{"ds2", {Duty::Kind::draining, std::chrono::minutes(5)}}};
    return durable;
}

std::string bytes_of(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void set_bytes(const fs::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

/// A directory of the test's own, and the store in it.
class SqliteStoreTest : public testing::Test {
  protected:
    SqliteStoreTest() {
        std::string name = testing::TempDir() + "storeXXXXXX";
        directory_ = ::mkdtemp(name.data());
        path_ = directory_ / "presence.db";
    }
    ~SqliteStoreTest() override { fs::remove_all(directory_); }

    [[nodiscard]] Result<std::unique_ptr<SqliteStore>> open(std::uint64_t first = 1) const {
        return SqliteStore::open(path_, facts_of_epoch(first));
    }
    [[nodiscard]] std::string error_of_opening() const {
        const auto store = open();
        return store ? "" : store.error().message;
    }
    void run(const char* sql) const {
        sqlite3* database = nullptr;
        ASSERT_EQ(sqlite3_open(path_.c_str(), &database), SQLITE_OK);
        EXPECT_EQ(sqlite3_exec(database, sql, nullptr, nullptr, nullptr), SQLITE_OK);
        sqlite3_close(database);
    }

    fs::path directory_;
    fs::path path_;
};

TEST_F(SqliteStoreTest, IsMadeWithTheFirstFactsForItsOwnerOnly) {
    ASSERT_EQ(open(7).value()->found(), facts_of_epoch(7));
    struct stat there {};
    ASSERT_EQ(::stat(path_.c_str(), &there), 0);
    EXPECT_EQ(there.st_mode & 07777U, 0600U);
    EXPECT_EQ(open(9).value()->found(), facts_of_epoch(7)) << "those of the first opening hold";
}

TEST_F(SqliteStoreTest, KeepsWhatWasWrittenLast) {
    {
        const auto store = open();
        ASSERT_TRUE(store.value()->write(facts_of_epoch(2)).ok());
        ASSERT_TRUE(store.value()->write(facts_of_epoch(3)).ok());
    }
    EXPECT_EQ(open().value()->found(), facts_of_epoch(3));
}

TEST_F(SqliteStoreTest, LetsNoSecondPresenceIn) {
    const auto store = open();
    ASSERT_TRUE(store.ok());
    EXPECT_THAT(error_of_opening(), HasSubstr("in use by another presence server"));
    EXPECT_TRUE(store.value()->write(facts_of_epoch(2)).ok());
    EXPECT_THAT(error_of_opening(), HasSubstr("in use by another presence server"));
}

TEST_F(SqliteStoreTest, IsGoodWheneverItsWriterIsKilled) {
    std::minstd_rand random(1);
    std::uint64_t confirmed = 0;
    for (int kill = 0; kill < 20; ++kill) {
        std::array<int, 2> told{};
        ASSERT_EQ(::pipe(told.data()), 0);
        const pid_t child = ::fork();
        if (child == 0) {
            const auto store = open();
            std::uint64_t epoch = store ? store.value()->found().epoch : 0;
            while (epoch > 0 && store.value()->write(facts_of_epoch(++epoch)).ok() &&
                   ::write(told[1], &epoch, sizeof(epoch)) == sizeof(epoch)) {
            }
            ::_exit(1);
        }
        ::close(told[1]);
        // After so many writes, and then at a moment that is not ours to choose.
        const unsigned writes = 1 + random() % 20;
        for (unsigned i = 0; i < writes; ++i) {
            ASSERT_EQ(::read(told[0], &confirmed, sizeof(confirmed)), sizeof(confirmed));
        }
        ::kill(child, SIGKILL);
        ::waitpid(child, nullptr, 0);
        while (::read(told[0], &confirmed, sizeof(confirmed)) == sizeof(confirmed)) {
        }
        ::close(told[0]);
        const auto store = open();
        ASSERT_TRUE(store.ok()) << store.error().message;
        const std::uint64_t found = store.value()->found().epoch;
        EXPECT_EQ(store.value()->found(), facts_of_epoch(found));
        EXPECT_THAT(found, testing::AnyOf(confirmed, confirmed + 1));
    }
}

TEST_F(SqliteStoreTest, RefusesAFileCutShortAndLeavesItAsItIs) {
    ASSERT_TRUE(open(5).ok());
    const std::string good = bytes_of(path_);
    for (std::size_t length = 0; length < good.size(); length += good.size() / 64 + 1) {
        set_bytes(path_, good.substr(0, length));
        EXPECT_THAT(error_of_opening(), HasSubstr("is damaged")) << length;
        EXPECT_EQ(bytes_of(path_).size(), length);
    }
}

TEST_F(SqliteStoreTest, RefusesAFileThatWasEmptiedRatherThanBeginAnew) {
    ASSERT_TRUE(open(5).ok());
    set_bytes(path_, "");
    EXPECT_THAT(error_of_opening(), HasSubstr("is damaged (it is empty)"));
    fs::remove(path_);
    EXPECT_TRUE(open(6).ok()) << "without a file it begins anew";
}

TEST_F(SqliteStoreTest, IsMadeWholeOrNotAtAll) {
    // Killed at a moment that is not ours to choose, as often as there is no store yet.
    for (int kill = 0; kill < 200 && !fs::exists(path_); ++kill) {
        const pid_t child = ::fork();
        if (child == 0) {
            static_cast<void>(open(7));
            ::_exit(0);
        }
        ::usleep(static_cast<useconds_t>(50 * kill));
        ::kill(child, SIGKILL);
        ::waitpid(child, nullptr, 0);
    }
    const auto store = open(7);
    ASSERT_TRUE(store.ok()) << store.error().message;
    EXPECT_EQ(store.value()->found(), facts_of_epoch(7));
}

TEST_F(SqliteStoreTest, NeverTakesAFlippedBitForAFact) {
    ASSERT_TRUE(open(5).ok());
    const std::string good = bytes_of(path_);
    unsigned refused = 0;
    for (std::size_t at = 0; at < good.size(); at += 7) {
        std::string bad = good;
        bad[at] = static_cast<char>(bad[at] ^ 0x10);
        set_bytes(path_, bad);
        const auto store = open(6);
        refused += store ? 0 : 1;
        if (store) {
            EXPECT_EQ(store.value()->found(), facts_of_epoch(5)) << at;  // a byte nobody reads
        }
    }
    EXPECT_GT(refused, 0);
}

TEST_F(SqliteStoreTest, RefusesWhatIsNoStore) {
    set_bytes(path_, std::string(5000, 'x'));
    ::chmod(path_.c_str(), 0600);
    EXPECT_THAT(error_of_opening(), HasSubstr("is damaged (file is not a database)"));
    fs::remove(path_);
    run("CREATE TABLE other (x)");
    ::chmod(path_.c_str(), 0600);
    EXPECT_THAT(error_of_opening(), HasSubstr("is not a store of penstock-presence"));
    fs::remove(path_);
    fs::create_directory(path_);
    EXPECT_THAT(error_of_opening(), HasSubstr("is no file"));
}

TEST_F(SqliteStoreTest, RefusesANewerSchema) {
    ASSERT_TRUE(open().ok());
    run("PRAGMA user_version=2");
    EXPECT_THAT(error_of_opening(), HasSubstr("has schema 2, and this program knows 1 only"));
}

TEST_F(SqliteStoreTest, RefusesAFileThatOthersMayRead) {
    ASSERT_TRUE(open().ok());
    ::chmod(path_.c_str(), 0640);
    EXPECT_THAT(error_of_opening(), HasSubstr("chmod 600"));
}

TEST_F(SqliteStoreTest, SaysThatItsDirectoryIsNotThere) {
    path_ = directory_ / "nowhere" / "presence.db";
    EXPECT_THAT(error_of_opening(), HasSubstr("cannot make the store"));
    EXPECT_THAT(error_of_opening(), HasSubstr("No such file or directory"));
}

/// The same on a file system of its own, in a mount namespace that ends with this process. As root.
class SqliteStoreDiskTest : public SqliteStoreTest {
  protected:
    void mount(const char* options) const {
        ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
        ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
        ASSERT_EQ(::mount("tmpfs", directory_.c_str(), "tmpfs", 0, options), 0);
    }
    ~SqliteStoreDiskTest() override { ::umount2(directory_.c_str(), MNT_DETACH); }
};

TEST_F(SqliteStoreDiskTest, SaysThatTheDiskIsFullAndKeepsWhatItHas) {
    mount("size=64k");
    const auto store = open(4);
    ASSERT_TRUE(store.ok()) << store.error().message;
    std::ofstream filler(directory_ / "filler");
    while (filler << std::string(4096, 'f') << std::flush) {
    }
    Durable more = facts_of_epoch(5);
    for (int i = 0; i < 1000; ++i) {
        more.servers.insert(fmt::format("data server {}", i));
    }
    const auto written = store.value()->write(more);
    ASSERT_FALSE(written.ok());
    EXPECT_THAT(written.error().message, HasSubstr("free space on its disk"));
    filler.close();
    fs::remove(directory_ / "filler");
    EXPECT_TRUE(store.value()->write(facts_of_epoch(6)).ok()) << "with space it goes on";
}

TEST_F(SqliteStoreDiskTest, CannotBeMadeOnAFullOrReadOnlyDisk) {
    mount("size=64k");
    ASSERT_TRUE(open(4).ok());
    ASSERT_EQ(::mount(nullptr, directory_.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr), 0);
    EXPECT_THAT(error_of_opening(), HasSubstr("can only be read"));
    path_ = directory_ / "another.db";
    EXPECT_THAT(error_of_opening(), HasSubstr("Read-only file system"));
}

}  // namespace
}  // namespace penstock::presence
