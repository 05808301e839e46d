#include "base/read_file.h"

#include <doctest/doctest.h>

#include "tests/support/temp_folder.h"

using sharder::read_file;

TEST_CASE("a file is read whole, whatever bytes it holds") {
  const sharder::testing::TempFolder folder;
  const std::string bytes = std::string("a\0b\r\n\xff", 6) + std::string(100'000, 'x');
  const auto text = read_file(folder.write("file", bytes));
  REQUIRE(text);
  CHECK(*text == bytes);
  CHECK(read_file(folder.write("empty", "")) == "");
}

TEST_CASE("a file that cannot be read is named with the reason") {
  const sharder::testing::TempFolder folder;
  const std::string missing = (folder / "missing").string();
  const auto none = read_file(missing);
  REQUIRE_FALSE(none);
  CHECK(none.error().code == sharder::ErrorCode::kInvalid);
  CHECK(none.error().message == missing + ": No such file or directory");
  CHECK(read_file(folder.path()).error().message == folder.path().string() + ": Is a directory");
}

TEST_CASE("a file that is far too large is not read into memory") {
  const sharder::testing::TempFolder folder;
  const auto path = folder.write("large", std::string(1001, 'x'));
  CHECK(read_file(path, 1001));
  CHECK(read_file(path, 1000).error().message == path.string() + ": larger than 1000 bytes");
  CHECK(read_file("/dev/zero", 1000).error().message == "/dev/zero: larger than 1000 bytes");
}
