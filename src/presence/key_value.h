#pragma once

#include <penstock/result.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace penstock::presence {

/// A key of etcd as it is now.
struct KeyValue {
    std::string value;
    std::int64_t create_revision = 0;
    std::int64_t mod_revision = 0;
    std::int64_t lease = 0;
};

/// Two keys are all that an election and its facts need; nullopt: there is none of it.
struct ElectionKeys {
    std::optional<KeyValue> leader;
    std::optional<KeyValue> facts;
};

struct LeaseTerms {
    std::int64_t id = 0;
    std::chrono::seconds length{0};
};

/// What presence asks of etcd, each in one attempt of bounded length (`most`, if there is one).
/// Errors: unavailable, timed_out, or system for an answer that makes no sense; whether a write
/// that failed so was applied is not known. Thread: any, one call at a time.
class KeyValueService {
  public:
    virtual ~KeyValueService() = default;

    virtual Result<LeaseTerms> grant(std::chrono::seconds length) = 0;
    /// Returns: nullopt: the lease is gone.
    virtual Result<std::optional<LeaseTerms>> keep_alive(std::int64_t lease,
                                                         std::chrono::milliseconds most) = 0;
    virtual Result<void> revoke(std::int64_t lease) = 0;
    virtual Result<ElectionKeys> read(std::chrono::milliseconds most) = 0;
    /// Makes the leader key with our address, if there is none. Returns: what then holds.
    virtual Result<ElectionKeys> campaign(const std::string& address, std::int64_t lease) = 0;
    /// Replaces the facts if the leader key is still that of `create_revision` and the facts are
    /// those of `mod_revision` (0: there are none).
    /// Returns: what then holds; the facts are ours if they have our text.
    virtual Result<ElectionKeys> write_facts(const std::string& text,
                                             std::int64_t create_revision,
                                             std::int64_t mod_revision) = 0;
};

}  // namespace penstock::presence
