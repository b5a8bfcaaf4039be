#include "penstock_publish/generate_source.h"

#include <penstock/test_content.h>

#include <utility>

namespace penstock {

GenerateSource::GenerateSource(std::uint64_t bits_per_second,
                               std::size_t payload_bytes,
                               std::uint64_t run,
                               std::function<std::uint64_t()> unix_now_ns)
    : clock_(bits_per_second),
      payload_bytes_(payload_bytes),
      run_(run),
      unix_now_ns_(std::move(unix_now_ns)) {}

Result<void> GenerateSource::start(MonotonicTime now) {
    clock_.start(now);
    return {};
}

void GenerateSource::stop(MonotonicTime /*now*/) {}

Result<SourceStep> GenerateSource::fill(DatagramBatch& batch, MonotonicTime now) {
    while (!batch.is_full() && clock_.is_due(now)) {
        const TestContentHead head{
            .run = run_, .sequence = sequence_++, .sent_at_unix_ns = unix_now_ns_()};
        write_test_content(batch.room().first(payload_bytes_), head);
        batch.add(payload_bytes_);
        clock_.sent(payload_bytes_, now);
    }
    return SourceStep{
        .next_at = batch.is_full() ? now : clock_.next_at(now), .wait_fd = -1, .has_ended = false};
}

}  // namespace penstock
