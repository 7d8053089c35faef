// Work split over XLA's own threads: no second pool, no OpenMP.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "xla/ffi/api/ffi.h"

#if defined(__GLIBC__) && defined(__GLIBCXX__)
// GCC 12 gave it a newer version and kept this one: see portable.cc.
#define LAMINA_WAIT "_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE"
__asm__(".symver " LAMINA_WAIT "," LAMINA_WAIT "@GLIBCXX_3.4.11");
#endif

namespace lamina {
namespace {

namespace ffi = xla::ffi;

// To wake a thread takes as long as so many products of numbers, about 10 us.
constexpr int64_t kWorthAThread = 1 << 19;

// Runs task(0) ... task(count - 1), which take about as long as `work` products of
// numbers. The calling thread works too, and waits only for tasks that have begun, so
// it is safe to call on a thread of the pool.
template <typename Task>
void Parallel(ffi::ThreadPool& pool, int64_t count, int64_t work, const Task& task) {
  struct Shared {
    const Task* task;
    int64_t count;
    std::atomic<int64_t> next{0}, done{0};
    std::mutex mutex;
    std::condition_variable finished;

    void Work() {
      for (int64_t i; (i = next.fetch_add(1)) < count;) {
        (*task)(i);
        if (done.fetch_add(1) + 1 == count) {
          std::lock_guard<std::mutex> lock(mutex);
          finished.notify_all();
        }
      }
    }
  };
  int64_t helpers =
      std::min<int64_t>({count, pool.num_threads(), work / kWorthAThread}) - 1;
  if (helpers < 1) {
    for (int64_t i = 0; i < count; ++i) task(i);
    return;
  }
  // A helper that starts late finds nothing to do, and must still find `Shared`.
  auto shared = std::make_shared<Shared>();
  shared->task = &task;
  shared->count = count;
  for (int64_t i = 0; i < helpers; ++i) {
    pool.Schedule([shared] { shared->Work(); });
  }
  shared->Work();
  for (int i = 0; i < 4096 && shared->done != count; ++i) {
    // The others are about to finish; to sleep would take longer.
  }
  std::unique_lock<std::mutex> lock(shared->mutex);
  shared->finished.wait(lock, [&] { return shared->done == count; });
}

// Memory of this thread that outlives the call: `slot` tells apart what one
// function needs at the same time. Starts where a line of the cache starts.
inline float* Scratch(int slot, int64_t count) {
  constexpr int64_t kLine = 64 / sizeof(float);
  thread_local std::vector<float> memory[4];
  if (static_cast<int64_t>(memory[slot].size()) < count + kLine) {
    memory[slot].resize(count + kLine);
  }
  auto place = reinterpret_cast<uintptr_t>(memory[slot].data()) / sizeof(float);
  return memory[slot].data() + (kLine - place % kLine) % kLine;
}

}  // namespace
}  // namespace lamina
