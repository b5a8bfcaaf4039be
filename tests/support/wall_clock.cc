/// Preloaded into a program, it shifts the program's wall clock by the nanoseconds that stand in
/// the file WALL_CLOCK_SHIFT names (8 bytes, this machine's order), now and whenever they change:
/// there is one wall clock for all namespaces, and it belongs to the machine. Waits until a time of
/// the wall clock are shifted back, so that they end when they should have.
#include <cstdarg>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

namespace {

constexpr std::int64_t kNsPerSecond = 1'000'000'000;

const volatile std::int64_t* shift_file() {
    static const auto* const kMapped = []() -> const volatile std::int64_t* {
        const char* const path = std::getenv("WALL_CLOCK_SHIFT");
        const int file = path == nullptr ? -1 : ::open(path, O_RDONLY | O_CLOEXEC);
        void* const bytes =
            file < 0 ? MAP_FAILED
                     : ::mmap(nullptr, sizeof(std::int64_t), PROT_READ, MAP_SHARED, file, 0);
        if (bytes == MAP_FAILED) {
            std::abort();  // a test without what it is about
        }
        ::close(file);
        return static_cast<const volatile std::int64_t*>(bytes);
    }
    ();
    return kMapped;
}

timespec shifted(const timespec& time, std::int64_t by_ns) {
    const std::int64_t ns = time.tv_sec * kNsPerSecond + time.tv_nsec + by_ns;
    return {.tv_sec = ns / kNsPerSecond, .tv_nsec = ns % kNsPerSecond};
}

template <typename Function>
Function* next(const char* name) {
    return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

bool is_wall(clockid_t clock) { return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE; }

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* time) noexcept {
    static auto* const kReal = next<int(clockid_t, timespec*)>("clock_gettime");
    const int result = kReal(clock, time);
    if (result == 0 && is_wall(clock)) {
        *time = shifted(*time, *shift_file());
    }
    return result;
}

int gettimeofday(timeval* time, void* /*zone*/) noexcept {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    *time = {.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1'000};
    return 0;
}

time_t time(time_t* out) noexcept {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    if (out != nullptr) {
        *out = now.tv_sec;
    }
    return now.tv_sec;
}

int pthread_cond_timedwait(pthread_cond_t* condition,
                           pthread_mutex_t* mutex,
                           const timespec* until) {
    static auto* const kReal =
        next<int(pthread_cond_t*, pthread_mutex_t*, const timespec*)>("pthread_cond_timedwait");
    const timespec machine = shifted(*until, -*shift_file());
    return kReal(condition, mutex, &machine);
}

int sem_timedwait(sem_t* semaphore, const timespec* until) {
    static auto* const kReal = next<int(sem_t*, const timespec*)>("sem_timedwait");
    const timespec machine = shifted(*until, -*shift_file());
    return kReal(semaphore, &machine);
}

/// Abseil waits on futexes by this.
long syscall(long number, ...) noexcept {
    static auto* const kReal = next<long(long, ...)>("syscall");
    std::va_list list;
    va_start(list, number);
    long words[6];
    for (long& word : words) {
        word = va_arg(list, long);
    }
    va_end(list);
    timespec machine{};
    if (number == SYS_futex && (words[1] & FUTEX_CLOCK_REALTIME) != 0 && words[3] != 0) {
        machine = shifted(*reinterpret_cast<const timespec*>(words[3]), -*shift_file());
        words[3] = reinterpret_cast<long>(&machine);
    }
    return kReal(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}

}  // extern "C"
