#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "http/limits.h"

namespace sharder::http {

// Bytes that all connections of a server may hold together in large buffers. Any thread.
class Budget {
 public:
  explicit Budget(std::size_t bytes) : left_(bytes) {}
  bool take(std::size_t bytes);
  void give_back(std::size_t bytes) { left_.fetch_add(bytes, std::memory_order_relaxed); }
  std::size_t left() const { return left_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::size_t> left_;
};

// A loop's buffers of the usual size that no connection uses. A connection has a buffer only while it has bytes of a
// request, so 4,096 idle connections hold none. One loop's thread.
class BufferPool {
 public:
  static constexpr std::size_t kBufferBytes = std::size_t{16} * 1024;  // a TLS record's content

  explicit BufferPool(Budget& budget) : budget_(budget) {}
  std::unique_ptr<char[]> take();
  void put(std::unique_ptr<char[]> buffer);
  Budget& budget() { return budget_; }

 private:
  static constexpr std::size_t kKept = 16;
  Budget& budget_;
  std::vector<std::unique_ptr<char[]>> free_;
};

// Input of a connection that was not used yet, in one piece, with kBodyPadding readable bytes behind it. Past the usual
// size it grows in steps and counts against the budget.
class InputBuffer {
 public:
  explicit InputBuffer(BufferPool& pool) : pool_(pool) {}
  ~InputBuffer() { release(); }
  InputBuffer(const InputBuffer&) = delete;
  InputBuffer& operator=(const InputBuffer&) = delete;

  // From the first unused byte. Moves when grow() or prepare() is called.
  std::span<char> bytes() { return {data_.get() + begin_, end_ - begin_}; }
  std::string_view view() const { return {data_.get() + begin_, end_ - begin_}; }
  bool empty() const { return begin_ == end_; }

  // Free space behind bytes(), at least one byte; empty when the budget is used up. `expected`: the size that bytes()
  // will have, 0 when it is not known.
  std::span<char> prepare(std::size_t expected);
  void commit(std::size_t bytes) { end_ += bytes; }
  // Drops the first bytes. When none are left, a large buffer goes back to the budget.
  void consume(std::size_t bytes);
  // Drops the bytes from `position` (counted as in bytes()) up to `next`.
  void erase(std::size_t position, std::size_t next);
  // Gives all memory back.
  void release();

 private:
  bool is_large() const { return capacity_ > BufferPool::kBufferBytes; }
  bool grow(std::size_t expected);

  BufferPool& pool_;
  std::unique_ptr<char[]> data_;
  std::size_t capacity_ = 0;  // without the padding
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace sharder::http
