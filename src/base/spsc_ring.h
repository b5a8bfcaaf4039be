#pragma once

#include "base/cache_line.h"
#include "base/check.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <concepts>
#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

namespace penstock {

/// A bounded queue from one thread to one other, without locks: how the control thread and a worker
/// speak to each other. Allocates in its constructor and nowhere else; never blocks. A slot keeps
/// its moved-from element until it is used again.
/// Thread: one thread pushes, one pops, at any time; which thread it is may change only with a
///         happens-before of the caller's own (a join, a lock). size_estimate() and capacity():
///         any.
template <typename T>
requires std::default_initializable<T> && std::is_nothrow_move_assignable_v<T> &&
    std::is_nothrow_destructible_v<T>
class SpscRing {
  public:
    /// `capacity`: elements held at most; a power of two.
    explicit SpscRing(std::size_t capacity)
        : slots_(std::make_unique<T[]>(capacity)), mask_(capacity - 1) {
        PENSTOCK_CHECK(std::has_single_bit(capacity));
    }
    SpscRing(const SpscRing&) = delete;
    SpscRing& operator=(const SpscRing&) = delete;
    ~SpscRing() = default;

    /// Adds an element at the end.
    /// Thread:  the pushing one.
    /// Returns: false, with `element` untouched, if the ring is full.
    [[nodiscard]] bool try_push(T&& element) noexcept { return push(std::move(element)); }
    [[nodiscard]] bool try_push(
        const T& element) noexcept requires std::is_nothrow_copy_assignable_v<T> {
        return push(element);
    }

    /// How many elements can be pushed, at least: min(wanted, what is free now).
    /// Thread: the pushing one.
    [[nodiscard]] std::size_t room(std::size_t wanted) noexcept {
        const std::size_t pushed = producer_.pushed.load(std::memory_order_relaxed);
        // As in pop_bulk(), the other thread's cache line is asked for only when needed.
        if (capacity() - (pushed - producer_.popped_seen) < wanted) {
            producer_.popped_seen = consumer_.popped.load(std::memory_order_acquire);
        }
        return std::min(wanted, capacity() - (pushed - producer_.popped_seen));
    }

    /// Takes the oldest element.
    /// Thread:  the popping one.
    /// Returns: false, with `element` untouched, if the ring is empty.
    [[nodiscard]] bool try_pop(T& element) noexcept { return pop_bulk({&element, 1}) == 1; }

    /// Takes the oldest elements, oldest first.
    /// Thread:  the popping one.
    /// Returns: elements written to the front of `elements`, 0..elements.size().
    [[nodiscard]] std::size_t pop_bulk(std::span<T> elements) noexcept {
        const std::size_t popped = consumer_.popped.load(std::memory_order_relaxed);
        // The other thread's cache line is asked for only when what is known of it will not do.
        if (consumer_.pushed_seen - popped < elements.size()) {
            consumer_.pushed_seen = producer_.pushed.load(std::memory_order_acquire);
        }
        const std::size_t count = std::min(elements.size(), consumer_.pushed_seen - popped);
        for (std::size_t i = 0; i < count; ++i) {
            elements[i] = std::move(slots_[(popped + i) & mask_]);
        }
        if (count > 0) {
            consumer_.popped.store(popped + count, std::memory_order_release);
        }
        return count;
    }

    /// Elements in the ring at about this time, 0..capacity(); exact while neither side is active.
    [[nodiscard]] std::size_t size_estimate() const noexcept {
        // In this order the difference cannot be negative.
        const std::size_t popped = consumer_.popped.load(std::memory_order_acquire);
        const std::size_t pushed = producer_.pushed.load(std::memory_order_acquire);
        return std::min(pushed - popped, capacity());
    }
    [[nodiscard]] std::size_t capacity() const noexcept { return mask_ + 1; }

  private:
    template <typename U>
    bool push(U&& element) noexcept {
        const std::size_t pushed = producer_.pushed.load(std::memory_order_relaxed);
        if (pushed - producer_.popped_seen == capacity()) {
            producer_.popped_seen = consumer_.popped.load(std::memory_order_acquire);
            if (pushed - producer_.popped_seen == capacity()) {
                return false;
            }
        }
        slots_[pushed & mask_] = std::forward<U>(element);
        producer_.pushed.store(pushed + 1, std::memory_order_release);
        return true;
    }

    /// Counts rise for ever and wrap with std::size_t; a slot is count & mask_.
    struct alignas(kCacheLineBytes) Producer {
        std::atomic<std::size_t> pushed{0};  // written: pushing thread   read: both
        std::size_t popped_seen = 0;         // pushing thread only
    };
    struct alignas(kCacheLineBytes) Consumer {
        std::atomic<std::size_t> popped{0};  // written: popping thread   read: both
        std::size_t pushed_seen = 0;         // popping thread only
    };

    const std::unique_ptr<T[]> slots_;
    const std::size_t mask_;
    Producer producer_;
    Consumer consumer_;
};

}  // namespace penstock
