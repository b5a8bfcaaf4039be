#include "penstock_bench/relay_board.h"

#include "base/check.h"

#include <cerrno>
#include <ctime>
#include <new>
#include <sys/mman.h>

namespace penstock::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr milliseconds kAnswerPatience{1'000};

void make(sem_t& semaphore) {
    constexpr int kBetweenProcesses = 1;
    PENSTOCK_CHECK(::sem_init(&semaphore, kBetweenProcesses, 0) == 0);
}

/// Whether it was posted within `patience`.
bool wait_on(sem_t& semaphore, milliseconds patience) {
    timespec until{};
    ::clock_gettime(CLOCK_MONOTONIC, &until);
    const nanoseconds at = seconds{until.tv_sec} + nanoseconds{until.tv_nsec} + patience;
    until.tv_sec = std::chrono::floor<seconds>(at).count();
    until.tv_nsec = (at - std::chrono::floor<seconds>(at)).count();
    int result = 0;
    do {
        result = ::sem_clockwait(&semaphore, CLOCK_MONOTONIC, &until);
    } while (result != 0 && errno == EINTR);
    return result == 0;
}

}  // namespace

RelayBoard::RelayBoard() {
    make(begun_);
    make(asked_);
    make(answered_);
    make(left_);
}

RelayBoard::~RelayBoard() {
    ::sem_destroy(&begun_);
    ::sem_destroy(&asked_);
    ::sem_destroy(&answered_);
    ::sem_destroy(&left_);
}

void RelayBoard::give_up() noexcept {
    gave_up_ = true;
    ::sem_post(&begun_);
}

void RelayBoard::serve(const MacAddress& to_mac, const std::function<RelayCounts()>& counts) {
    to_mac_ = to_mac;
    ::sem_post(&begun_);
    while (!stop_) {
        if (::sem_wait(&asked_) == 0 && !stop_) {
            counts_ = counts();
            ::sem_post(&answered_);
        }
    }
}

std::optional<MacAddress> RelayBoard::wait(milliseconds patience) {
    return wait_on(begun_, patience) && !gave_up_ ? std::optional(to_mac_) : std::nullopt;
}

std::optional<RelayCounts> RelayBoard::ask() {
    ::sem_post(&asked_);
    return wait_on(answered_, kAnswerPatience) ? std::optional(counts_) : std::nullopt;
}

void RelayBoard::stop() noexcept {
    stop_ = true;
    ::sem_post(&asked_);
}

void RelayBoard::leave() noexcept { ::sem_post(&left_); }

bool RelayBoard::stop_and_wait(milliseconds patience) {
    stop();
    return wait_on(left_, patience);
}

Result<SharedRelayBoard> share_relay_board() {
    void* const memory = ::mmap(
        nullptr, sizeof(RelayBoard), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return Error{ErrorCode::system, "no memory to share between relay and generator"};
    }
    return SharedRelayBoard(new (memory) RelayBoard, [](RelayBoard* board) {
        board->~RelayBoard();
        ::munmap(board, sizeof(RelayBoard));
    });
}

}  // namespace penstock::bench
