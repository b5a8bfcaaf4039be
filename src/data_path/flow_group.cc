#include "data_path/flow_group.h"

#include "base/check.h"

#include <algorithm>
#include <utility>

namespace penstock {

void FlowGroup::grow(const FlowChunk& chunk,
                     FlowChunk* directory,
                     std::uint32_t directory_chunks) noexcept {
    if (first_chunk_.places < kFlowsPerChunk) {  // there are none yet, or few
        PENSTOCK_CHECK(chunk.places > first_chunk_.places);
        std::copy_n(first_chunk_.headers, first_chunk_.places, chunk.headers);
        std::copy_n(first_chunk_.records, first_chunk_.places, chunk.records);
        first_chunk_ = chunk;
        chunks_ = 1;
        return;
    }
    if (directory != nullptr) {
        PENSTOCK_CHECK(directory_chunks > chunks_);
        std::copy_n(directory_, std::min(chunks_, directory_chunks_), directory);
        directory_ = directory;
        directory_chunks_ = directory_chunks;
    }
    PENSTOCK_CHECK(chunks_ < directory_chunks_ && chunk.places == kFlowsPerChunk);
    directory_[chunks_++] = chunk;
}

void FlowGroup::add_catching_up(FlowRecord& record, const FlowHeaders& headers) noexcept {
    const std::uint32_t position = live_ + catching_up_;
    PENSTOCK_CHECK(position < places());
    const FlowChunk& chunk = chunk_of(position);
    chunk.headers[position % kFlowsPerChunk] = headers;
    chunk.records[position % kFlowsPerChunk] = &record;
    record.position = position;
    ++catching_up_;
}

void FlowGroup::promote(FlowRecord& record) noexcept {
    PENSTOCK_CHECK(!is_live(record));
    swap(record.position, live_);
    ++live_;
    --catching_up_;
}

void FlowGroup::remove(FlowRecord& record, std::uint32_t& served) noexcept {
    const std::uint32_t last = live_ + catching_up_ - 1;
    std::uint32_t hole = record.position;
    if (!is_live(record)) {
        move(last, hole);
        --catching_up_;
        return;
    }
    // The parts are: those that have had the packet in fan-out, those that have not, and once the
    // fan-out is beyond the last position, those that had it first; then those that catch up. Each
    // from the hole's on gives its last flow to the hole and leaves the hole at its own end.
    const std::uint32_t next = start_ + served - (has_wrapped(served) ? live_ : 0);
    served -= place_of(hole) < served ? 1 : 0;
    const std::uint32_t start = start_;
    start_ -= hole < start ? 1 : 0;
    for (const std::uint32_t end : {std::min(start, next), std::max(start, next), live_}) {
        if (hole < end) {
            move(end - 1, hole);
            hole = end - 1;
        }
    }
    move(last, hole);
    --live_;
}

void FlowGroup::update(const FlowRecord& record, const FlowHeaders& headers) noexcept {
    chunk_of(record.position).headers[record.position % kFlowsPerChunk] = headers;
}

void FlowGroup::move(std::uint32_t from, std::uint32_t to) noexcept {
    if (from == to) {
        return;
    }
    FlowRecord& record = record_at(from);
    const FlowChunk& chunk = chunk_of(to);
    chunk.headers[to % kFlowsPerChunk] = headers_of(from);
    chunk.records[to % kFlowsPerChunk] = &record;
    record.position = to;
}

void FlowGroup::swap(std::uint32_t a, std::uint32_t b) noexcept {
    if (a == b) {
        return;
    }
    const std::uint32_t in_a = a % kFlowsPerChunk;
    const std::uint32_t in_b = b % kFlowsPerChunk;
    std::swap(chunk_of(a).headers[in_a], chunk_of(b).headers[in_b]);
    std::swap(chunk_of(a).records[in_a], chunk_of(b).records[in_b]);
    record_at(a).position = a;
    record_at(b).position = b;
}

}  // namespace penstock
