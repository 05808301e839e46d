#include "ctl/completion.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "ctl/commands.h"

using namespace sharder::ctl;

namespace {

using Words = std::vector<std::string>;

Words texts(const Words& words) {
  const auto lookup = [](std::string_view what, const Invocation& typed) {
    if (const auto context = typed.value("context")) {
      return Words{*context + "-" + typed.value("ring").value_or("any")};
    }
    return what == "RING" ? Words{"ring-a", "ring-b"} : what == "SHARD" ? Words{"shard-a"} : Words();
  };
  Words found;
  for (const Candidate& candidate : complete(commands(), global_flags(), words, lookup)) {
    found.push_back(candidate.text);
  }
  return found;
}

bool has(const Words& found, const std::string& text) {
  return std::ranges::find(found, text) != found.end();
}

}  // namespace

TEST_CASE("commands are completed, those of two words word by word") {
  CHECK(texts({"st"}) == Words{"status"});
  CHECK(texts({"-n", "x", "st"}) == Words{"status"});
  CHECK(texts({"lab"}) == Words{"labels"});
  CHECK(texts({"labels", ""}) == Words{"remove"});
  CHECK(texts({""}).size() == commands().size());
}

TEST_CASE("names of the cluster are completed where the command wants them") {
  CHECK(texts({"status", "ring-b"}) == Words{"ring-b"});
  CHECK(texts({"labels", "remove", ""}) == Words{"ring-a", "ring-b"});
  CHECK(texts({"drain", "--wait", ""}) == Words{"shard-a"});
  CHECK(texts({"status", "ring-a", ""}).empty());
  CHECK(texts({"drain", "--ring", ""}) == Words{"ring-a", "ring-b"});
}

TEST_CASE("flags and their values are completed") {
  CHECK(has(texts({"plan", "--f"}), "--filename"));
  CHECK(!has(texts({"status", "--"}), "--filename"));
  CHECK(texts({"status", "-o", "j"}) == Words{"json"});
  CHECK(texts({"status", "--output=y"}) == Words{"--output=yaml"});
  CHECK(texts({"completion", "f"}) == Words{"fish"});
}

TEST_CASE("names are looked up where the flags say that have been typed") {
  CHECK(texts({"--context", "other", "status", ""}) == Words{"other-any"});
  CHECK(texts({"drain", "--context=other", "--ring", "alpha", ""}) == Words{"other-alpha"});
  CHECK(texts({"status", "--context", "=", "other", ""}) == Words{"other-any"});  // as bash has it
  CHECK(texts({"-w", "--context", "other", "status", ""}) == Words{"other-any"});
}

TEST_CASE("bash's three words of a flag and its value are one") {
  CHECK(texts({"status", "--output", "=", "js"}) == Words{"json"});
  CHECK(has(texts({"status", "--output", "="}), "yaml"));
  CHECK(texts({"status", "--output", "=", "json", "ring-a"}) == Words{"ring-a"});
}
