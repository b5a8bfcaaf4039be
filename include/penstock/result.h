#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace penstock {

/// What kind of trouble an Error is: decides who can mend it, never what is printed.
enum class ErrorCode {
    invalid_argument,  // the caller's input is wrong; trying again changes nothing
    not_found,         // the named thing does not exist (yet)
    already_exists,    // the name is taken
    unavailable,       // a peer or resource is out of reach now; trying again may help
    timed_out,         // the stated time passed
    exhausted,         // a limit or a pool is used up
    denied,            // not permitted
    system,            // the operating system or DPDK refused; the message carries its words
};

/// A failure that is expected in operation. `message` is one line: what, why, and what to do.
struct Error {
    ErrorCode code;
    std::string message;
};

/// Either a value or an Error. The holder must look before it takes: value() on an error throws
/// std::bad_variant_access, which is a bug of the caller.
template <typename T>
class [[nodiscard]] Result {
  public:
    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit
    Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit

    [[nodiscard]] bool ok() const noexcept { return state_.index() == 0; }
    explicit operator bool() const noexcept { return ok(); }

    [[nodiscard]] T& value() & { return std::get<0>(state_); }
    [[nodiscard]] const T& value() const& { return std::get<0>(state_); }
    [[nodiscard]] T&& value() && { return std::get<0>(std::move(state_)); }
    T& operator*() & { return value(); }
    const T& operator*() const& { return value(); }
    T* operator->() { return &value(); }
    const T* operator->() const { return &value(); }

    [[nodiscard]] const Error& error() const& { return std::get<1>(state_); }
    [[nodiscard]] Error&& error() && { return std::get<1>(std::move(state_)); }

  private:
    std::variant<T, Error> state_;
};

/// The same for an operation that yields nothing.
template <>
class [[nodiscard]] Result<void> {
  public:
    Result() = default;
    Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit

    [[nodiscard]] bool ok() const noexcept { return !error_.has_value(); }
    explicit operator bool() const noexcept { return ok(); }
    [[nodiscard]] const Error& error() const& { return *error_; }
    [[nodiscard]] Error&& error() && { return *std::move(error_); }

  private:
    std::optional<Error> error_;
};

}  // namespace penstock
