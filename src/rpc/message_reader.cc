#include "rpc/message_reader.h"

namespace penstock::control {
namespace {

std::uint32_t length_in(std::string_view prefix) noexcept {
    std::uint32_t length = 0;
    for (std::size_t i = 1; i < kMessagePrefixBytes; ++i) {
        length = length << 8U | static_cast<unsigned char>(prefix[i]);
    }
    return length;
}

}  // namespace

std::size_t begin_message(std::string& out) {
    const std::size_t begin = out.size();
    out.append(kMessagePrefixBytes, '\0');
    return begin;
}

void end_message(std::string& out, std::size_t begin) noexcept {
    auto length = static_cast<std::uint32_t>(out.size() - begin - kMessagePrefixBytes);
    for (std::size_t i = kMessagePrefixBytes - 1; i > 0; --i) {
        out[begin + i] = static_cast<char>(length & 0xffU);
        length >>= 8U;
    }
}

void MessageReader::add(std::string_view bytes) {
    if (kept_.empty()) {
        rest_ = bytes;
    } else {
        kept_.append(bytes);
        rest_ = kept_;
    }
}

MessageReader::Found MessageReader::next(std::string_view& message) {
    if (rest_.size() < kMessagePrefixBytes) {
        return Found::nothing;
    }
    if (rest_.front() != 0) {
        return Found::compressed;
    }
    const std::size_t length = length_in(rest_);
    if (length > most_) {
        return Found::too_long;
    }
    if (rest_.size() < kMessagePrefixBytes + length) {
        return Found::nothing;
    }
    message = rest_.substr(kMessagePrefixBytes, length);
    rest_.remove_prefix(kMessagePrefixBytes + length);
    return Found::message;
}

void MessageReader::keep_rest() {
    if (kept_.empty()) {
        kept_.assign(rest_);
    } else {
        kept_.erase(0, kept_.size() - rest_.size());
    }
    if (kept_.empty()) {
        std::string().swap(kept_);  // what a long message took
    }
    rest_ = kept_;
}

}  // namespace penstock::control
