#pragma once

#include "data_path/drop_reasons.h"

#include <array>
#include <string_view>

namespace penstock {

struct DropReasonText {
    std::string_view name;
    std::string_view sentence;
};

/// By DropReason.
inline constexpr std::array kDropReasonTexts{
#define PENSTOCK_DROP_REASON_TEXT(name, sentence) DropReasonText{#name, sentence},
    PENSTOCK_DROP_REASONS(PENSTOCK_DROP_REASON_TEXT)
#undef PENSTOCK_DROP_REASON_TEXT
};
static_assert(kDropReasonTexts.size() == kDropReasonCount);

}  // namespace penstock
