// Kernels in oneDNN's layout, kept from call to call while their numbers stay the same.
//
// Inference calls with the same weights again and again, and reordering them costs as much as
// a small convolution. What is kept is found by address and believed only after every byte of
// the kernel has been compared with the copy that was packed: XLA gives an address to other
// numbers whenever it likes, so nothing less would do. Comparing reads; reordering scatters,
// five times as slowly.
//
// In training the kernel differs at every call. A sample of its words tells that for nothing,
// and a kernel is copied only when its sample has been the same twice.

#pragma once

#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "plan.h"

namespace jaxmed {

// Kernels below this size are reordered faster than they are found.
constexpr size_t kLeastKept = 1 << 16;
// All copies together stay below this size.
constexpr size_t kMostKept = size_t{256} << 20;
// A copy not used for so many look-ups makes room for others.
constexpr uint64_t kForgotten = 4096;

// A kernel as JAX has it and as oneDNN wants it.
struct Kept {
  Scratch source, packed;
  size_t bytes = 0;  // of both
};

class KeptKernels {
 public:
  static KeptKernels& instance() {
    static auto* const kernels = new KeptKernels;
    return *kernels;
  }

  // The kernel in oneDNN's layout, or null: then the caller reorders it as ever.
  std::shared_ptr<Kept> find(ffi::ThreadPool& pool, int64_t threads, const Plan& plan,
                             const char* kernel, size_t bytes) {
    if (bytes < kLeastKept) return nullptr;
    const uint64_t sampled = sample(kernel, bytes);
    const Key key{&plan, kernel};
    std::shared_ptr<Kept> kept;
    {
      std::lock_guard lock(mutex_);
      Entry& entry = entries_[key];
      entry.used = ++clock_;
      if (!entry.seen || entry.sampled != sampled) {
        entry.seen = true;
        entry.sampled = sampled;
        drop(entry);
        if (entries_.size() > kForgotten) forget();
        return nullptr;
      }
      kept = entry.kept;
    }
    if (kept && same(pool, threads, kept->source.data(), kernel, bytes)) return kept;
    return keep(key, plan, kernel, bytes);
  }

 private:
  using Key = std::pair<const Plan*, const char*>;
  struct Entry {
    bool seen = false;
    uint64_t sampled = 0, used = 0;
    std::shared_ptr<Kept> kept;
  };

  std::shared_ptr<Kept> keep(const Key& key, const Plan& plan, const char* kernel,
                             size_t bytes) {
    const size_t packed = plan.kernel.get_size();
    {
      std::lock_guard lock(mutex_);
      if (total_ + bytes + packed > kMostKept) forget();
      if (total_ + bytes + packed > kMostKept) return nullptr;
    }
    auto made = std::make_shared<Kept>();
    made->bytes = bytes + packed;
    std::memcpy(made->source.get(bytes), kernel, bytes);
    run_reorder(plan, made->source.data(), made->packed.get(packed), false);
    std::lock_guard lock(mutex_);
    Entry& entry = entries_[key];
    drop(entry);
    entry.used = clock_;
    entry.kept = made;
    total_ += made->bytes;
    return made;
  }

  void drop(Entry& entry) {
    if (entry.kept) total_ -= entry.kept->bytes;
    entry.kept = nullptr;
  }

  void forget() {
    for (auto at = entries_.begin(); at != entries_.end();) {
      if (at->second.used + kForgotten < clock_) {
        drop(at->second);
        at = entries_.erase(at);
      } else {
        ++at;
      }
    }
  }

  static uint64_t sample(const char* kernel, size_t bytes) {
    constexpr size_t kWords = 64;
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < kWords; ++i) {
      uint64_t word;
      std::memcpy(&word, kernel + (bytes - sizeof word) / (kWords - 1) * i, sizeof word);
      hash = (hash ^ word) * 1099511628211u;
    }
    return hash;
  }

  static bool same(ffi::ThreadPool& pool, int64_t threads, const char* a, const char* b,
                   size_t bytes) {
    constexpr int64_t kChunk = 1 << 20;
    const int64_t chunks = (bytes + kChunk - 1) / kChunk;
    std::atomic<bool> equal{true};
    parallel(pool, threads, chunks, [&](int64_t i) {
      const size_t start = i * kChunk;
      if (equal && std::memcmp(a + start, b + start, std::min<size_t>(kChunk, bytes - start)))
        equal = false;
    });
    return equal;
  }

  std::mutex mutex_;
  std::map<Key, Entry> entries_;
  size_t total_ = 0;
  uint64_t clock_ = 0;
};

}  // namespace jaxmed
