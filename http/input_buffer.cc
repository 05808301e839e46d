#include "http/input_buffer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "http/message.h"

namespace sharder::http {
namespace {

// The first step past the usual size. An announced size gives no more memory than this: the client must send first.
constexpr std::size_t kFirstStep = std::size_t{256} * 1024;

std::unique_ptr<char[]> allocate(std::size_t capacity) {
  auto data = std::make_unique_for_overwrite<char[]>(capacity + kBodyPadding);
  std::memset(data.get() + capacity, 0, kBodyPadding);
  return data;
}

}  // namespace

bool Budget::take(std::size_t bytes) {
  std::size_t left = left_.load(std::memory_order_relaxed);
  while (left >= bytes) {
    if (left_.compare_exchange_weak(left, left - bytes, std::memory_order_relaxed)) {
      return true;
    }
  }
  return false;
}

std::unique_ptr<char[]> BufferPool::take() {
  if (free_.empty()) {
    return allocate(kBufferBytes);
  }
  auto buffer = std::move(free_.back());
  free_.pop_back();
  return buffer;
}

void BufferPool::put(std::unique_ptr<char[]> buffer) {
  if (free_.size() < kKept) {
    free_.push_back(std::move(buffer));
  }
}

std::span<char> InputBuffer::prepare(std::size_t expected) {
  if (!data_) {
    data_ = pool_.take();
    capacity_ = BufferPool::kBufferBytes;
  }
  if (end_ == capacity_ || (expected > 0 && begin_ + expected > capacity_)) {
    if (begin_ > 0) {
      std::memmove(data_.get(), data_.get() + begin_, end_ - begin_);
      end_ -= std::exchange(begin_, 0);
    }
    if (end_ == capacity_ && !grow(expected)) {
      return {};
    }
  }
  return {data_.get() + end_, capacity_ - end_};
}

bool InputBuffer::grow(std::size_t expected) {
  std::size_t capacity = std::max(2 * capacity_, kFirstStep);
  if (expected > capacity_) {
    capacity = std::min(capacity, expected);
  }
  if (!pool_.budget().take(capacity - (is_large() ? capacity_ : 0))) {
    return false;
  }
  auto data = allocate(capacity);
  std::memcpy(data.get(), data_.get(), end_);
  data_.swap(data);
  if (!is_large()) {
    pool_.put(std::move(data));
  }
  capacity_ = capacity;
  return true;
}

void InputBuffer::consume(std::size_t bytes) {
  begin_ += bytes;
  if (empty()) {
    begin_ = end_ = 0;
    if (is_large()) {
      release();
    }
  }
}

void InputBuffer::erase(std::size_t position, std::size_t next) {
  const std::size_t rest = end_ - begin_ - next;
  std::memmove(data_.get() + begin_ + position, data_.get() + begin_ + next, rest);
  end_ = begin_ + position + rest;
}

void InputBuffer::release() {
  if (is_large()) {
    pool_.budget().give_back(capacity_);
    data_.reset();
  } else if (data_) {
    pool_.put(std::move(data_));
  }
  capacity_ = begin_ = end_ = 0;
}

}  // namespace sharder::http
