#pragma once

#include "presence/key_value.h"

#include <penstock/tls.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace penstock::presence {

/// The members of an etcd cluster. Calls go to the member that answered last and, if it does not,
/// to the others in turn.
class EtcdSession final : public KeyValueService {
  public:
    static constexpr std::chrono::milliseconds kCallMost{500};  // with one member

    /// `members`: "HOST:PORT" each, at least one. `prefix`: of the two keys, without the last '/'.
    /// `tls`: is read once, here; {}: plaintext.
    /// Errors: invalid_argument: the files are no good.
    static Result<std::unique_ptr<EtcdSession>> open(std::vector<std::string> members,
                                                     const std::string& prefix,
                                                     const TlsFiles& tls);
    ~EtcdSession() override;
    EtcdSession(const EtcdSession&) = delete;
    EtcdSession& operator=(const EtcdSession&) = delete;

    Result<LeaseTerms> grant(std::chrono::seconds length) override;
    Result<std::optional<LeaseTerms>> keep_alive(std::int64_t lease,
                                                 std::chrono::milliseconds most) override;
    Result<void> revoke(std::int64_t lease) override;
    Result<ElectionKeys> read(std::chrono::milliseconds most) override;
    Result<ElectionKeys> campaign(const std::string& address, std::int64_t lease) override;
    Result<ElectionKeys> write_facts(const std::string& text,
                                     std::int64_t create_revision,
                                     std::int64_t mod_revision) override;

  private:
    struct Members;
    explicit EtcdSession(std::unique_ptr<Members> members);
    std::unique_ptr<Members> members_;
};

}  // namespace penstock::presence
