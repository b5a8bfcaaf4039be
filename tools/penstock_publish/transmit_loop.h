#pragma once

#include "penstock_publish/record_file.h"
#include "penstock_publish/source.h"

#include <penstock/publisher.h>
#include <penstock/result.h>

#include <atomic>
#include <cstdint>
#include <string>

namespace penstock {

/// Lets a source run exactly while presence wants the stream, and carries its datagrams to the
/// publisher.
class TransmitLoop {
  public:
    /// All are borrowed for the loop's life. `stop_requested` is set by a signal handler.
    TransmitLoop(Publisher& publisher,
                 Source& source,
                 RecordFile& record,
                 bool json,
                 const std::atomic<bool>& stop_requested)
        : publisher_(publisher),
          source_(source),
          record_(record),
          json_(json),
          stop_requested_(stop_requested) {}

    /// Until a signal, the end of the content, or for good reasons an error.
    /// Errors: of the source and the record; denied if presence refused the publisher for good.
    Result<void> run();

  private:
    enum class Phase { resting, running, held };

    Result<void> on_status(const PublisherStatus& status, MonotonicTime now);
    /// One turn of a running source. False at the end of its content.
    Result<bool> turn(MonotonicTime now);
    Result<void> publish();
    void rest(MonotonicTime now);
    void say_notices();
    void say_trouble(const std::string& trouble);

    Publisher& publisher_;
    Source& source_;
    RecordFile& record_;
    const bool json_;
    const std::atomic<bool>& stop_requested_;

    Phase phase_ = Phase::resting;
    PublisherStatus seen_;
    MonotonicTime looked_at_{};  // when the status was last read
    bool was_short_ = false;     // the last publish() did not take all
    DatagramBatch batch_;
    std::string trouble_;  // last said
};

/// The word for a state, as in the state lines.
const char* state_word(PublisherState state) noexcept;
/// A state line, without its line end; "" for states that have none (connecting, ended).
std::string state_line(const PublisherStatus& status, bool json, MonotonicTime now);
/// The last line of a run with --json.
std::string done_line(const PublisherStatus& status);

}  // namespace penstock
