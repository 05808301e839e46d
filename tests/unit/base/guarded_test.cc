#include "base/guarded.h"

#include <doctest/doctest.h>

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
