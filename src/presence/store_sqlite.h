#pragma once

#include "presence/store.h"

#include <memory>
#include <string>

struct sqlite3;

namespace penstock::presence {

/// Durable facts of one presence server in a SQLite file. A rollback journal with synchronous=EXTRA
/// and one transaction per change; SQLite's exclusive lock, held for life, keeps a second presence
/// server out.
class SqliteStore final : public Store {
  public:
    static constexpr int kSchema = 1;  // PRAGMA user_version

    /// Opens `path`, or makes it (mode 0600, directory synced) with `first` in it if there is none.
    /// Errors: one line each: in use, damaged (an empty file, too), of another program or a newer
    /// version, readable by others, no permission, read-only, disk full. The file is then as it
    /// was.
    static Result<std::unique_ptr<SqliteStore>> open(const std::string& path, const Durable& first);
    ~SqliteStore() override;
    SqliteStore(const SqliteStore&) = delete;
    SqliteStore& operator=(const SqliteStore&) = delete;

    /// What was found at opening.
    [[nodiscard]] const Durable& found() const noexcept { return found_; }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    Result<void> write(const Durable& durable) override;

  private:
    struct Close {
        void operator()(sqlite3* database) const noexcept;
    };
    using Database = std::unique_ptr<sqlite3, Close>;

    SqliteStore(std::string path, Database database);
    static Result<void> make(const std::string& path, const Durable& first);
    static Result<std::unique_ptr<SqliteStore>> open_file(const std::string& path,
                                                          const Durable& first);
    Result<void> set_up(const Durable& first);
    Result<void> make_schema();
    Result<void> check();
    Result<void> read();
    Result<void> put(const Durable& durable);
    Result<void> execute(const char* sql);
    [[nodiscard]] Error trouble() const;

    const std::string path_;
    Database database_;
    Durable found_;
};

/// Where the store is if --store does not say: presence.db in systemd's $STATE_DIRECTORY, or in
/// /var/lib/penstock for root, or in penstock under $XDG_STATE_HOME or ~/.local/state.
[[nodiscard]] std::string default_store_path();

/// Makes the directories of default_store_path(), those that are missing, with mode 0700.
Result<void> make_store_directory(const std::string& path);

}  // namespace penstock::presence
