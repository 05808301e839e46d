#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

namespace sharder {

// A value that can be reached only through its lock. Keep what runs under the lock short: no I/O, callback or log call.
template <class T>
class Guarded {
 public:
  Guarded() = default;
  explicit Guarded(T value) : value_(std::move(value)) {}

  // Runs f(value) under the lock and returns what it returns.
  template <class F>
  decltype(auto) with(F&& f) {
    std::lock_guard lock(mutex_);
    return std::invoke(std::forward<F>(f), value_);
  }
  template <class F>
  decltype(auto) with(F&& f) const {
    std::lock_guard lock(mutex_);
    return std::invoke(std::forward<F>(f), value_);
  }

 private:
  mutable std::mutex mutex_;
  T value_{};
};

// The newest version of an immutable value: one thread publishes, any thread reads. A reader that keeps its own copy
// (PublishedReader) touches the lock only when there is a newer one. It does not use std::atomic<std::shared_ptr>,
// which in GCC 12 is a data race under TSan.
template <class T>
class Published {
 public:
  // The newest value, null before the first publish().
  std::shared_ptr<const T> get() const {
    return value_.with([](const auto& value) { return value; });
  }
  // Number of publish() calls so far.
  std::uint64_t version() const { return version_.load(std::memory_order_acquire); }

  void publish(std::shared_ptr<const T> value) {
    value_.with([&](auto& current) { current.swap(value); });  // the old value is released outside the lock
    version_.fetch_add(1, std::memory_order_release);
  }

 private:
  Guarded<std::shared_ptr<const T>> value_;
  std::atomic<std::uint64_t> version_ = 0;
};

// One thread's copy of a Published value. Owned and used by that thread alone; `source` outlives it.
template <class T>
class PublishedReader {
 public:
  explicit PublishedReader(const Published<T>& source) : source_(source) {}

  // The newest value, null before the first publish(). The reference holds until the next call.
  const std::shared_ptr<const T>& get() {
    if (const auto version = source_.version(); version != version_) {
      copy_ = source_.get();
      version_ = version;
    }
    return copy_;
  }

 private:
  const Published<T>& source_;
  std::shared_ptr<const T> copy_;
  std::uint64_t version_ = 0;
};

}  // namespace sharder
