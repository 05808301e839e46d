#include "ctl/command_line.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "ctl/commands.h"
#include "ctl/context.h"

using namespace sharder;
using namespace sharder::ctl;

namespace {

using Words = std::vector<std::string>;

Result<Invocation> parse(const Words& words) {
  return parse_command_line(commands(), global_flags(), words);
}

std::string message(const Words& words) {
  const auto parsed = parse(words);
  REQUIRE(!parsed);
  return parsed.error().message;
}

}  // namespace

TEST_CASE("flags stand before or behind the command, in every spelling that kubectl knows") {
  for (const Words& words : std::vector<Words>{{"status", "a", "-n", "x", "-o", "json"},
                                               {"-n=x", "-o=json", "status", "a"},
                                               {"-nx", "status", "-ojson", "a"},
                                               {"--namespace", "x", "status", "a", "--output=json"},
                                               {"status", "--namespace=x", "--output", "json", "--", "a"}}) {
    CAPTURE(words.front());
    const auto parsed = parse(words);
    REQUIRE(parsed);
    CHECK(parsed->command->name == "status");
    CHECK(parsed->arguments == Words{"a"});
    CHECK(parsed->value("namespace") == "x");
    CHECK(parsed->value("output") == "json");
  }
}

TEST_CASE("letters without a value share a word, and the last one of a flag counts") {
  const auto parsed = parse({"status", "-Aw", "--watch=false"});
  REQUIRE(parsed);
  CHECK(parsed->enabled("all-namespaces"));
  CHECK(!parsed->enabled("watch"));
  CHECK(!parsed->enabled("no-color"));
}

TEST_CASE("a ring may be called like a command, or like a flag") {
  const auto parsed = parse({"status", "status"});
  REQUIRE(parsed);
  CHECK(parsed->arguments == Words{"status"});
  CHECK(parse({"status", "--", "-x"})->arguments == Words{"-x"});
}

TEST_CASE("a flag with an optional value takes none from the next word") {
  const auto parsed = parse({"plan", "--add", "ring", "--add=shard-d"});
  REQUIRE(parsed);
  CHECK(parsed->arguments == Words{"ring"});
  CHECK(parsed->values("add") == Words{"", "shard-d"});
}

TEST_CASE("a wrong word is answered with what there is") {
  CHECK(message({"statsu"}) == "unknown command \"statsu\"; did you mean status?; --help lists all");
  CHECK(message({"status", "--ouput=json"}) == "unknown flag --ouput; did you mean --output?");
  CHECK(message({"status", "-q"}) == "unknown flag -q");
  CHECK(message({"status", "-o", "table"}) == "--output: want one of wide, json, yaml, name, got \"table\"");
  CHECK(message({"status", "-n"}) == "--namespace needs a value: NAME");
  CHECK(message({"status", "--watch=maybe"}) == "--watch: want true or false, got maybe");
  CHECK(message({"status", "a", "b"}).starts_with("status: what is \"b\" for?"));
  CHECK(message({"plan"}).starts_with("plan needs more arguments"));
  CHECK(message({"top", ""}) == "top: an argument is empty; usage: sharderctl top RING");
  CHECK(message({"status", ""}).starts_with("status: an argument is empty"));
  CHECK(message({"status", "--shards=3"}) == "status has no flag --shards");
}

TEST_CASE("help is asked for with a flag or a word, and needs no arguments") {
  CHECK(parse({"plan", "--help"})->help);
  CHECK(parse({"help", "plan"})->command->name == "plan");
  CHECK(parse({"-h"})->command == nullptr);
  CHECK(parse({})->command == nullptr);
}

TEST_CASE("no command gives a flag another meaning than its namesakes, nor a letter twice") {
  std::map<std::string_view, FlagValue> takes;
  std::map<char, std::string_view> letters;
  const auto check = [&](const Flag& flag) {
    CAPTURE(flag.name);
    CHECK(takes.try_emplace(flag.name, flag.takes).first->second == flag.takes);
    if (flag.letter != 0) {
      CHECK(letters.try_emplace(flag.letter, flag.name).first->second == flag.name);
    }
  };
  std::ranges::for_each(global_flags(), check);
  for (const Command& command : commands()) {
    std::ranges::for_each(command.flags, check);
  }
}

TEST_CASE("the help of every command fits into 40 columns") {
  const auto check = [](const std::string& text) {
    std::size_t begin = 0;
    while (begin < text.size()) {
      const auto end = text.find('\n', begin);
      CAPTURE(text.substr(begin, end - begin));
      CHECK(end - begin <= 44);  // a flag with its value is one word
      begin = end + 1;
    }
  };
  check(help_text(commands(), global_flags(), nullptr, 40));
  for (const Command& command : commands()) {
    check(help_text(commands(), global_flags(), &command, 40));
  }
}

TEST_CASE("global flags are read, and contradictions found") {
  const auto options = read_options(*parse({"status", "--request-timeout=2m", "-owide"}));
  REQUIRE(options);
  CHECK(options->request_timeout == std::chrono::minutes(2));
  CHECK(options->output == Output::kWide);
  CHECK(options->sharder_namespace == "sharding-system");
  CHECK(read_options(*parse({"status", "--request-timeout=0"}))->request_timeout >= std::chrono::hours(1));
  CHECK(!read_options(*parse({"status", "--request-timeout=5"})));
  CHECK(!read_options(*parse({"status", "-n", "a", "-A"})));
}

TEST_CASE("a flag that a command has no use for is refused") {
  for (const Words& words : std::vector<Words>{{"status", "-w", "-o", "name"},
                                               {"top", "r", "-w"},
                                               {"plan", "r", "-o", "name"},
                                               {"cordon", "s", "-oname"},
                                               {"events", "r", "--watch=false"}}) {
    CAPTURE(words.front());
    CHECK(read_options(*parse(words)));
  }
  const auto refusal = [](const Words& words) { return read_options(*parse(words)).error().message; };
  CHECK(refusal({"events", "r", "-w"}) == "--watch: events does not go on");
  CHECK(refusal({"labels", "remove", "r", "-o", "name"}) == "--output name: labels remove has no names to print");
  for (const Words& words : std::vector<Words>{{"explain", "a/b", "-w"},
                                               {"plan", "r", "-w"},
                                               {"doctor", "-w"},
                                               {"rebalance", "r", "-w"},
                                               {"version", "-w"},
                                               {"explain", "a/b", "-oname"},
                                               {"top", "r", "-oname"},
                                               {"events", "r", "-oname"},
                                               {"support-bundle", "-oname"},
                                               {"version", "-oname"}}) {
    CAPTURE(words.front());
    CHECK(!read_options(*parse(words)));
  }
}
