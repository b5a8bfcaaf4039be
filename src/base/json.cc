#include "base/json.h"

#include "base/check.h"

#include <fmt/format.h>

#include <cmath>
#include <iterator>

namespace penstock {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xc0U) == 0x80U; }

/// Bytes of the well-formed UTF-8 sequence at the front, 0 if there is none (Unicode 15, table
/// 3-7).
std::size_t sequence_bytes(std::string_view text) {
    const auto first = static_cast<unsigned char>(text[0]);
    if (first < 0x80) {
        return 1;
    }
    const std::size_t size = first < 0xc2   ? 0
                             : first < 0xe0 ? 2
                             : first < 0xf0 ? 3
                             : first < 0xf5 ? 4
                                            : 0;
    if (size == 0 || text.size() < size) {
        return 0;
    }
    for (std::size_t i = 1; i < size; ++i) {
        if (!is_continuation(text[i])) {
            return 0;
        }
    }
    // Not longer than needed, no surrogate, not beyond U+10FFFF: all told by the second byte.
    const auto second = static_cast<unsigned char>(text[1]);
    const bool legal = !(first == 0xe0 && second < 0xa0) && !(first == 0xed && second > 0x9f) &&
                       !(first == 0xf0 && second < 0x90) && !(first == 0xf4 && second > 0x8f);
    return legal ? size : 0;
}

/// The two-character escape of RFC 8259 section 7, or '\0' if there is none.
char short_escape(char c) {
    switch (c) {
        case '"':
        case '\\':
            return c;
        case '\b':
            return 'b';
        case '\f':
            return 'f';
        case '\n':
            return 'n';
        case '\r':
            return 'r';
        case '\t':
            return 't';
        default:
            return '\0';
    }
}

}  // namespace

JsonWriter& JsonWriter::begin_object() { return begin(true, '{'); }
JsonWriter& JsonWriter::end_object() { return end(true, '}'); }
JsonWriter& JsonWriter::begin_array() { return begin(false, '['); }
JsonWriter& JsonWriter::end_array() { return end(false, ']'); }

JsonWriter& JsonWriter::key(std::string_view name) {
    PENSTOCK_CHECK(!open_.empty() && open_.back().is_object && !after_key_);
    if (!open_.back().is_empty) {
        text_.push_back(',');
    }
    open_.back().is_empty = false;
    append_string(name);
    text_.push_back(':');
    after_key_ = true;
    return *this;
}

JsonWriter& JsonWriter::value(std::string_view text) {
    begin_value();
    append_string(text);
    return *this;
}

JsonWriter& JsonWriter::value(double number) {
    return std::isfinite(number) ? literal(fmt::format("{:.9g}", number)) : null();
}

const std::string& JsonWriter::text() const {
    PENSTOCK_CHECK(open_.empty() && !text_.empty());
    return text_;
}

void JsonWriter::begin_value() {
    if (open_.empty()) {
        PENSTOCK_CHECK(text_.empty());
        return;
    }
    PENSTOCK_CHECK(open_.back().is_object == after_key_);
    if (!after_key_ && !open_.back().is_empty) {
        text_.push_back(',');
    }
    open_.back().is_empty = false;
    after_key_ = false;
}

JsonWriter& JsonWriter::begin(bool is_object, char bracket) {
    begin_value();
    open_.push_back({is_object});
    text_.push_back(bracket);
    return *this;
}

JsonWriter& JsonWriter::end(bool is_object, char bracket) {
    PENSTOCK_CHECK(!open_.empty() && open_.back().is_object == is_object && !after_key_);
    open_.pop_back();
    text_.push_back(bracket);
    return *this;
}

JsonWriter& JsonWriter::literal(std::string_view text) {
    begin_value();
    text_.append(text);
    return *this;
}

JsonWriter& JsonWriter::integer(std::int64_t number) { return literal(std::to_string(number)); }
JsonWriter& JsonWriter::natural(std::uint64_t number) { return literal(std::to_string(number)); }

void JsonWriter::append_string(std::string_view text) {
    text_.push_back('"');
    while (!text.empty()) {
        const std::size_t size = sequence_bytes(text);
        const char escape = short_escape(text.front());
        if (size == 0) {
            text_.append(kReplacement);
        } else if (escape != '\0') {
            text_.push_back('\\');
            text_.push_back(escape);
        } else if (static_cast<unsigned char>(text.front()) < 0x20) {
            fmt::format_to(std::back_inserter(text_), "\\u{:04x}", text.front());
        } else {
            text_.append(text.substr(0, size));
        }
        text.remove_prefix(size == 0 ? 1 : size);
    }
    text_.push_back('"');
}

}  // namespace penstock
