#pragma once

#include "presence/state.h"
#include "rpc/operator_messages.h"

#include <penstock/result.h>

#include <chrono>
#include <string>
#include <vector>

namespace penstock::presence {

/// What operators may ask. All are pure: they read the state and change nothing.

/// `name`: one data server; "": all, by name. Errors: not_found.
[[nodiscard]] Result<std::vector<control::ServerInfo>> list_servers(const State& state,
                                                                    const std::string& name,
                                                                    MonotonicTime now);
/// `name`: one stream; "": all, by name. Errors: not_found.
[[nodiscard]] Result<std::vector<control::StreamInfo>> list_streams(const State& state,
                                                                    const std::string& name);
/// Consumers of one stream, or of all (""): those with a session and those with only a flow.
/// Errors: not_found.
[[nodiscard]] Result<std::vector<control::ConsumerInfo>> list_consumers(const State& state,
                                                                        const std::string& stream,
                                                                        MonotonicTime now);
/// The decision behind the last hand-out of a stream. Errors: not_found.
[[nodiscard]] Result<control::Explanation> explain(const State& state,
                                                   const std::string& stream,
                                                   MonotonicTime now);
/// Events with the wall time they happened at, reckoned back from `unix_now` at `now`.
[[nodiscard]] std::vector<control::EventRecord> list_events(const State& state,
                                                            std::uint64_t after_sequence,
                                                            const std::string& stream,
                                                            std::size_t most,
                                                            MonotonicTime now,
                                                            std::chrono::milliseconds unix_now);
/// Numbers of peers; the byte counters are the edge's to fill in.
[[nodiscard]] control::Status status_of(const State& state, MonotonicTime now);

}  // namespace penstock::presence
