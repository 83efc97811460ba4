// Tasks on XLA's own threads, and memory that they keep.

#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <new>

#include "xla/ffi/api/c_api.h"
#include "xla/ffi/api/ffi.h"

namespace jaxmed {

namespace ffi = xla::ffi;

// Scratch memory that grows and stays: one for each thread and purpose.
class Scratch {
 public:
  ~Scratch() { std::free(data_); }
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  char* data() const { return data_; }
  char* get(size_t bytes) {
    if (bytes > size_) {
      std::free(data_);
      size_ = (bytes + 4095) / 4096 * 4096;
      data_ = static_cast<char*>(std::aligned_alloc(4096, size_));
      if (data_ == nullptr) {
        size_ = 0;
        throw std::bad_alloc();
      }
    }
    return data_;
  }

 private:
  char* data_ = nullptr;
  size_t size_ = 0;
};

// Runs task(0) ... task(n - 1) on the pool and on the calling thread. The caller takes
// tasks too and waits only for those that others have begun, so a full pool cannot block it.
inline void parallel(ffi::ThreadPool& pool, int64_t workers, int64_t n,
              const std::function<void(int64_t)>& task) {
  workers = std::min(workers, n);
  if (workers <= 1) {
    for (int64_t i = 0; i < n; ++i) task(i);
    return;
  }
  struct State {
    std::atomic<int64_t> next{0}, done{0};
    int64_t n;
    const std::function<void(int64_t)>* task;
    std::mutex mutex;
    std::condition_variable all_done;
    std::exception_ptr error;
    void work() {
      for (int64_t i; (i = next.fetch_add(1)) < n;) {
        try {
          (*task)(i);
        } catch (...) {
          std::lock_guard lock(mutex);
          if (!error) error = std::current_exception();
        }
        if (done.fetch_add(1) + 1 == n) {
          std::lock_guard lock(mutex);
          all_done.notify_all();
        }
      }
    }
  };
  auto state = std::make_shared<State>();
  state->n = n;
  state->task = &task;
  for (int64_t w = 1; w < workers; ++w) pool.Schedule([state] { state->work(); });
  state->work();
  std::unique_lock lock(state->mutex);
  state->all_done.wait(lock, [&] { return state->done.load() == state->n; });
  if (state->error) std::rethrow_exception(state->error);
}

// The widest team that the user allows.
inline int64_t thread_limit() {
  static const int64_t limit = [] {
    const char* text = std::getenv("OMP_NUM_THREADS");
    const long value = text ? std::strtol(text, nullptr, 10) : 0;
    return value > 0 ? static_cast<int64_t>(value) : INT64_MAX;
  }();
  return limit;
}

// Threads to use of a pool.
inline int64_t width_of(ffi::ThreadPool& pool) {
  return std::max<int64_t>(1, std::min<int64_t>(pool.num_threads(), thread_limit()));
}

}  // namespace jaxmed
