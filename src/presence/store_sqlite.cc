#include "presence/store_sqlite.h"

#include "base/unique_fd.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace penstock::presence {
namespace {

constexpr int kApplication = 0x50535450;  // "PSTP": PRAGMA application_id
constexpr int kHeaderBytes = 100;         // of a SQLite file
constexpr int kBusyMs = 0;                // who has the lock keeps it: no use in waiting

struct Finalize {
    void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

Statement prepare(sqlite3* database, const char* sql) {
    sqlite3_stmt* statement = nullptr;
    sqlite3_prepare_v2(database, sql, -1, &statement, nullptr);
    return Statement(statement);  // none: the caller sees it by its first step
}

int step(const Statement& statement) {
    return statement == nullptr ? SQLITE_ERROR : sqlite3_step(statement.get());
}

std::string text_at(const Statement& row, int column) {
    const void* const bytes = sqlite3_column_blob(row.get(), column);
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(row.get(), column));
    return bytes == nullptr ? std::string() : std::string(static_cast<const char*>(bytes), size);
}

int number_of(sqlite3* database, const char* pragma) {
    const Statement row = prepare(database, pragma);
    return step(row) == SQLITE_ROW ? sqlite3_column_int(row.get(), 0) : -1;
}

Error cannot_make(const std::string& path, int number) {
    return {ErrorCode::system,
            fmt::format("cannot make the store {}: {}; name a file in a directory that can be "
                        "written to with --store",
                        path,
                        std::generic_category().message(number))};
}

Error damaged(const std::string& path, const std::string& why) {
    return {ErrorCode::invalid_argument,
            fmt::format("the store {} is damaged ({}): restore it from a copy, or move it away to "
                        "begin anew without the drains in it",
                        path,
                        why)};
}

/// Errors: what is there and cannot be a store of ours.
Result<void> check_file(const std::string& path, const struct stat& there) {
    if (!S_ISREG(there.st_mode)) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("the store {} is no file; name one with --store", path)};
    }
    if ((there.st_mode & 077U) != 0) {
        return Error{
            ErrorCode::denied,
            fmt::format("the store {} holds keys and others may open it (mode {:o}): chmod "
                        "600 it",
                        path,
                        there.st_mode & 07777U)};
    }
    if (there.st_size < kHeaderBytes) {  // SQLite would begin anew
        return damaged(path, there.st_size == 0 ? "it is empty" : "it is cut short");
    }
    return {};
}

Result<void> make_durable(const std::string& path) {
    const std::filesystem::path parent = std::filesystem::path(path).parent_path();
    const UniqueFd directory(
        ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory || ::fsync(directory.get()) != 0) {
        return cannot_make(path, errno);
    }
    return {};
}

}  // namespace

void SqliteStore::Close::operator()(sqlite3* database) const noexcept { sqlite3_close(database); }

SqliteStore::SqliteStore(std::string path, Database database)
    : path_(std::move(path)), database_(std::move(database)) {}

SqliteStore::~SqliteStore() = default;

Result<std::unique_ptr<SqliteStore>> SqliteStore::open(const std::string& path,
                                                       const Durable& first) {
    struct stat there {};
    const bool is_new = ::stat(path.c_str(), &there) != 0;
    if (auto good = is_new ? make(path, first) : check_file(path, there); !good) {
        return std::move(good).error();
    }
    return open_file(path, first);
}

/// A store that is whole when it gets its name: a kill on the way leaves none there.
Result<void> SqliteStore::make(const std::string& path, const Durable& first) {
    const std::string draft = fmt::format("{}.new-{}", path, ::getpid());
    ::unlink(draft.c_str());
    if (!UniqueFd(::open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600))) {
        return cannot_make(path, errno);
    }
    const auto made = open_file(draft, first);
    // Nobody's is replaced: of two that begin at once, the second finds what the first has made.
    const bool is_named = made && (::link(draft.c_str(), path.c_str()) == 0 || errno == EEXIST);
    const int number = errno;
    ::unlink(draft.c_str());
    if (!made) {
        return made.error();
    }
    return is_named ? make_durable(path) : cannot_make(path, number);
}

Result<std::unique_ptr<SqliteStore>> SqliteStore::open_file(const std::string& path,
                                                            const Durable& first) {
    sqlite3* raw = nullptr;
    const int opened = sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE, nullptr);
    std::unique_ptr<SqliteStore> store(new SqliteStore(path, Database(raw)));
    if (opened != SQLITE_OK) {
        return store->trouble();
    }
    sqlite3_extended_result_codes(raw, 1);
    if (auto ready = store->set_up(first); !ready) {
        return std::move(ready).error();
    }
    return store;
}

/// Takes the lock, looks whether the file is good, and reads it.
Result<void> SqliteStore::set_up(const Durable& first) {
    sqlite3_busy_timeout(database_.get(), kBusyMs);
    for (const char* const sql : {"PRAGMA locking_mode=EXCLUSIVE",
                                  "PRAGMA journal_mode=DELETE",
                                  "PRAGMA synchronous=EXTRA",
                                  "PRAGMA trusted_schema=OFF",
                                  "BEGIN EXCLUSIVE"}) {
        if (auto done = execute(sql); !done) {
            return done;
        }
    }
    if (sqlite3_db_readonly(database_.get(), "main") != 0) {
        return Error{ErrorCode::denied,
                     fmt::format("the store {} can only be read: mend its permissions, or name "
                                 "another with --store",
                                 path_)};
    }
    if (number_of(database_.get(), "SELECT count(*) FROM sqlite_schema") == 0 &&
        number_of(database_.get(), "PRAGMA application_id") == 0) {
        found_ = first;
        return make_schema();
    }
    if (auto good = check(); !good) {
        return good;
    }
    if (auto committed = execute("COMMIT"); !committed) {
        return committed;
    }
    return read();
}

/// All of it and the first facts in the transaction that is open.
Result<void> SqliteStore::make_schema() {
    const std::string schema = fmt::format(
        "PRAGMA application_id={}; PRAGMA user_version={};"
        "CREATE TABLE fact (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL)"
        " STRICT, WITHOUT ROWID",
        kApplication,
        kSchema);
    if (auto made = execute(schema.c_str()); !made) {
        return made;
    }
    return put(found_);
}

Result<void> SqliteStore::check() {
    sqlite3* const database = database_.get();
    const Statement row = prepare(database, "PRAGMA quick_check(1)");
    if (step(row) != SQLITE_ROW) {
        return trouble();
    }
    if (const std::string verdict = text_at(row, 0); verdict != "ok") {
        return damaged(path_, verdict);
    }
    if (const int application = number_of(database, "PRAGMA application_id");
        application != kApplication) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("the file {} is not a store of penstock-presence; name another "
                                 "with --store",
                                 path_)};
    }
    if (const int schema = number_of(database, "PRAGMA user_version"); schema != kSchema) {
        return Error{ErrorCode::invalid_argument,
                     fmt::format("the store {} has schema {}, and this program knows {} only: "
                                 "start the version that wrote it",
                                 path_,
                                 schema,
                                 kSchema)};
    }
    return {};
}

Result<void> SqliteStore::read() {
    Facts facts;
    const Statement row = prepare(database_.get(), "SELECT name, value FROM fact");
    int result = step(row);
    for (; result == SQLITE_ROW; result = step(row)) {
        facts.emplace(text_at(row, 0), text_at(row, 1));
    }
    if (result != SQLITE_DONE) {
        return trouble();
    }
    Result<Durable> durable = from_facts(facts);
    if (!durable) {
        return damaged(path_, durable.error().message);
    }
    found_ = std::move(durable).value();
    return {};
}

Result<void> SqliteStore::write(const Durable& durable) {
    if (auto begun = execute("BEGIN IMMEDIATE; DELETE FROM fact"); !begun) {
        return begun;
    }
    return put(durable);
}

/// Ends the open transaction with these facts in it.
Result<void> SqliteStore::put(const Durable& durable) {
    const Statement insert = prepare(database_.get(), "INSERT INTO fact VALUES (?1, ?2)");
    for (const auto& [name, value] : to_facts(durable)) {
        sqlite3_bind_text(insert.get(), 1, name.data(), static_cast<int>(name.size()), nullptr);
        sqlite3_bind_text(insert.get(), 2, value.data(), static_cast<int>(value.size()), nullptr);
        if (step(insert) != SQLITE_DONE) {
            Error error = trouble();
            sqlite3_reset(insert.get());
            sqlite3_exec(database_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
            return error;
        }
        sqlite3_reset(insert.get());
    }
    return execute("COMMIT");
}

/// Errors: those of SQLite; nothing of an open transaction remains.
Result<void> SqliteStore::execute(const char* sql) {
    if (sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr) == SQLITE_OK) {
        return {};
    }
    Error error = trouble();
    if (sqlite3_get_autocommit(database_.get()) == 0) {
        sqlite3_exec(database_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
    }
    return error;
}

/// What SQLite complained of last, and what to do about it.
Error SqliteStore::trouble() const {
    const std::string words = sqlite3_errmsg(database_.get());
    switch (sqlite3_errcode(database_.get())) {
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
            return {ErrorCode::already_exists,
                    fmt::format("the store {} is in use by another presence server: stop that one, "
                                "or give this one its own with --store",
                                path_)};
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
            return damaged(path_, words);
        case SQLITE_FULL:
            return {
                ErrorCode::exhausted,
                fmt::format("cannot write the store {}: {}: free space on its disk", path_, words)};
        default:
            return {ErrorCode::system,
                    fmt::format("cannot write the store {}: {}: see that its directory and file "
                                "can be written to",
                                path_,
                                words)};
    }
}

std::string default_store_path() {
    namespace fs = std::filesystem;
    const auto variable = [](const char* name) {
        // NOLINTNEXTLINE(concurrency-mt-unsafe): read at start, before there is a second thread
        const char* const value = std::getenv(name);
        return std::string(value == nullptr ? "" : value);
    };
    if (const std::string given = variable("STATE_DIRECTORY"); !given.empty()) {
        return fs::path(given.substr(0, given.find(':'))) / "presence.db";
    }
    if (::geteuid() == 0) {
        return "/var/lib/penstock/presence.db";
    }
    const std::string state = variable("XDG_STATE_HOME");
    const fs::path base =
        state.empty() ? fs::path(variable("HOME")) / ".local/state" : fs::path(state);
    return base / "penstock" / "presence.db";
}

Result<void> make_store_directory(const std::string& path) {
    const std::filesystem::path directory = std::filesystem::path(path).parent_path();
    const mode_t mask = ::umask(0077);
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    ::umask(mask);
    if (error) {
        return cannot_make(path, error.value());
    }
    return {};
}

}  // namespace penstock::presence
