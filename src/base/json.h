#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace penstock {

/// Writes one JSON document (RFC 8259) on one line without spaces. Calls that do not nest to a
/// document are bugs and abort: a key outside an object, a value without its key, an end that does
/// not match, a second document.
class JsonWriter {
  public:
    JsonWriter& begin_object();
    JsonWriter& end_object();
    JsonWriter& begin_array();
    JsonWriter& end_array();
    JsonWriter& key(std::string_view name);

    /// Control characters and quotes are escaped; a byte that is not UTF-8 becomes U+FFFD.
    JsonWriter& value(std::string_view text);
    JsonWriter& value(const char* text) { return value(std::string_view(text)); }
    JsonWriter& value(const std::string& text) { return value(std::string_view(text)); }
    /// Nine significant digits; null if it is not finite, for which JSON has no number.
    JsonWriter& value(double number);
    template <std::signed_integral T>
    JsonWriter& value(T number) {
        return integer(static_cast<std::int64_t>(number));
    }
    template <std::unsigned_integral T>
    requires(!std::same_as<T, bool>) JsonWriter& value(T number) {
        return natural(static_cast<std::uint64_t>(number));
    }
    // A template, so that no pointer is taken for a truth.
    template <std::same_as<bool> T>
    JsonWriter& value(T truth) {
        return literal(truth ? "true" : "false");
    }
    JsonWriter& null() { return literal("null"); }

    /// key() and value() in one.
    template <typename T>
    JsonWriter& member(std::string_view name, const T& content) {
        return key(name).value(content);
    }

    /// The finished document, without a line end.
    [[nodiscard]] const std::string& text() const;

  private:
    struct Level {
        bool is_object;
        bool is_empty = true;
    };

    /// Writes what stands between this value (or key) and the one before it.
    void begin_value();
    JsonWriter& begin(bool is_object, char bracket);
    JsonWriter& end(bool is_object, char bracket);
    JsonWriter& literal(std::string_view text);
    JsonWriter& integer(std::int64_t number);
    JsonWriter& natural(std::uint64_t number);
    void append_string(std::string_view text);

    std::string text_;
    std::vector<Level> open_;
    bool after_key_ = false;
};

}  // namespace penstock
