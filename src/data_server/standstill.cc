#include "data_server/standstill.h"

#include <algorithm>

namespace penstock {

void Standstill::look(std::span<const std::uint64_t> counts, std::uint64_t now_ms) {
    const bool is_first = counted_.empty();
    const std::uint64_t passed =
        is_first ? 0 : std::min(now_ms - looked_at_ms_, kBetweenLooksMsMax);
    counted_.resize(counts.size());
    for (std::size_t i = 0; i < counts.size(); ++i) {
        const bool has_moved = counts[i] != counted_[i].count;
        counted_[i] = {counts[i], has_moved ? 0 : counted_[i].still_ms + passed};
    }
    looked_at_ms_ = now_ms;
}

}  // namespace penstock
