#include "base/guarded.h"

#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

using sharder::Guarded;
using sharder::Published;
using sharder::PublishedReader;

TEST_CASE("a reader sees each newer version and keeps its copy otherwise") {
  Published<int> number;
  PublishedReader<int> reader(number);
  CHECK(reader.get() == nullptr);
  number.publish(std::make_shared<const int>(1));
  CHECK(*reader.get() == 1);
  const int* first = reader.get().get();
  CHECK(reader.get().get() == first);
  number.publish(std::make_shared<const int>(2));
  CHECK(*reader.get() == 2);
  CHECK(number.version() == 2);
}

TEST_CASE("a guarded value is reached by one thread at a time") {
  Guarded<int> number(5);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int j = 0; j < 1000; ++j) {
          number.with([](int& value) { ++value; });
        }
      });
    }
  }
  CHECK(std::as_const(number).with([](const int& value) { return value; }) == 4005);
}

TEST_CASE("readers on other threads see whole values, newer and newer") {
  Published<std::vector<int>> published;
  published.publish(std::make_shared<const std::vector<int>>(10, 0));
  std::vector<std::jthread> readers;
  std::atomic<int> mixed = 0;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      PublishedReader<std::vector<int>> reader(published);
      for (int last = 0; last < 500;) {
        const auto& value = *reader.get();
        mixed += value.front() != value.back() || value.front() < last ? 1 : 0;
        last = value.front();
      }
    });
  }
  for (int version = 1; version <= 500; ++version) {
    published.publish(std::make_shared<const std::vector<int>>(10, version));
  }
  readers.clear();
  CHECK(mixed == 0);
}
