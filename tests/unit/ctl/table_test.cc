#include "ctl/table.h"

#include <doctest/doctest.h>

#include <sstream>
#include <string>

using namespace sharder::ctl;

namespace {

Table shards() {
  Table table({{"SHARD"}, {"STATE"}, {"OBJECTS", true}});
  table.add({"shard-a", {"ready", Tone::kGood}, "498"});
  table.add({"a-shard-with-a-very-long-name-that-fills-a-line", {"dead", Tone::kBad}, "7"});
  return table;
}

std::size_t longest_line(const std::string& text) {
  std::istringstream lines(text);
  std::string line;
  std::size_t longest = 0;
  while (std::getline(lines, line)) {
    longest = std::max(longest, line.size());
  }
  return longest;
}

}  // namespace

TEST_CASE("a table has its columns under each other, numbers to the right, and no spaces at the end of a line") {
  Table table({{"SHARD"}, {"OBJECTS", true}, {"POD"}});
  table.add({"a", "5", "Running"});
  table.add({"bb", "1234567890", ""});
  CHECK(table.render({}) ==
        "SHARD      OBJECTS   POD\n"
        "a                5   Running\n"
        "bb      1234567890   -\n");
  CHECK(table.render({.headers = false}) ==
        "a             5   Running\n"
        "bb   1234567890   -\n");
}

TEST_CASE("no cell steers the terminal or begins a line, whatever it has") {
  Table table({{"A"}, {"B"}});
  table.add({"\x1b[2J", "x\nring  Ready"});
  CHECK(table.render({}) ==
        "A       B\n"
        "^[[2J   x ring  Ready\n");
  CHECK(table.render({.width = 11}) == "^[[2J\n  b: x ring\n     Ready\n");
  CHECK(render_facts({{"n\x07", "\u009b"}}, {}) == "n^G: \\u009b\n");
}

TEST_CASE("where a line has no room, each row becomes a few lines, none longer than the terminal") {
  const std::string text = shards().render({.width = 40});
  CHECK(longest_line(text) <= 40);
  CHECK(text.starts_with("shard-a\n  state:   ready\n  objects: 498\n"));
  CHECK(longest_line(shards().render({.width = 20})) <= 20);
}

TEST_CASE("colors do not change the width") {
  const std::string text = shards().render({.color = true});
  CHECK(text.contains("\033[32mready\033[0m"));
  std::string plain = text;
  for (std::size_t at = plain.find('\033'); at != std::string::npos; at = plain.find('\033')) {
    plain.erase(at, plain.find('m', at) - at + 1);
  }
  CHECK(plain == shards().render({}));
}

TEST_CASE("facts are wrapped below where their value begins, or below the name where that is too far right") {
  CHECK(render_facts({{"leader", "a b"}, {"x", ""}}, {}) == "leader: a b\nx:      -\n");
  const std::string text = render_facts({{"controls deployments.apps", "on shard-a 3, on shard-b 4"}}, {.width = 30});
  CHECK(longest_line(text) <= 30);
  CHECK(text.starts_with("controls deployments.apps:\n"));
}
