#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace penstock::control {

/// A gRPC message as it travels: 1 byte, 1 if compressed; 4 bytes big-endian, its length; itself.
/// Source: gRPC over HTTP2, "Length-Prefixed-Message".
inline constexpr std::size_t kMessagePrefixBytes = 5;

/// Appends the prefix of a message that follows; its length is set by end_message().
/// Returns: where it begins in `out`.
std::size_t begin_message(std::string& out);
/// All that was appended since is the message.
void end_message(std::string& out, std::size_t begin) noexcept;

/// Messages out of the bytes of a call, which come in any portions. Thread: its owner's.
class MessageReader {
  public:
    enum class Found { nothing, message, too_long, compressed };

    /// No message longer than `most` bytes is taken.
    explicit MessageReader(std::size_t most) : most_(most) {}

    /// Takes more bytes; they have to stay until keep_rest(). Without a message in parts they are
    /// not copied.
    void add(std::string_view bytes);
    /// The next whole message, valid until the next add() or keep_rest(). After anything but a
    /// message, nothing of the call can be understood any more.
    Found next(std::string_view& message);
    /// Keeps what is no whole message yet, or was not asked for.
    void keep_rest();
    [[nodiscard]] std::size_t rest_bytes() const noexcept { return rest_.size(); }

  private:
    const std::size_t most_;
    std::string kept_;
    std::string_view rest_;  // of kept_, or of what was added
};

}  // namespace penstock::control
