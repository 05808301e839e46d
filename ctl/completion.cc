#include "ctl/completion.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "ctl/cluster.h"
#include "ctl/commands.h"
#include "ctl/rings.h"
#include "ctl/text.h"

namespace sharder::ctl {

namespace {

constexpr std::chrono::seconds kPatience{2};

constexpr std::string_view kBash = R"(_sharderctl() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do
    case $line in
      :0) compopt -o default ;;
      :*) ;;
      *) COMPREPLY+=("${line%%$'\t'*}") ;;
    esac
  done < <(sharderctl __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _sharderctl sharderctl
)";

constexpr std::string_view kZsh = R"(#compdef sharderctl
_sharderctl() {
  local line
  local -a candidates
  while IFS= read -r line; do
    [[ $line == :* ]] || candidates+=("${line/$'\t'/:}")
  done < <(sharderctl __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
  _describe sharderctl candidates
}
compdef _sharderctl sharderctl
)";

constexpr std::string_view kFish = R"(function __sharderctl_complete
  set -l words (commandline -opc)[2..] (commandline -ct)
  sharderctl __complete $words 2>/dev/null | string match -v ':*'
end
complete -c sharderctl -f -a '(__sharderctl_complete)'
)";

const Flag* find_flag(std::span<const Command> commands, std::span<const Flag> global_flags, std::string_view word) {
  const auto is_it = [word](const Flag& flag) {
    return word == "--" + std::string(flag.name) || (flag.letter != 0 && word == std::string("-") + flag.letter);
  };
  if (const auto found = std::ranges::find_if(global_flags, is_it); found != global_flags.end()) {
    return &*found;
  }
  for (const Command& command : commands) {
    if (const auto found = std::ranges::find_if(command.flags, is_it); found != command.flags.end()) {
      return &*found;
    }
  }
  return nullptr;
}

// "[RING]" is RING.
std::string_view bare(std::string_view argument) {
  return argument.starts_with('[') && argument.ends_with(']') ? argument.substr(1, argument.size() - 2) : argument;
}

void add_names(std::vector<Candidate>& candidates, std::string_view what, const Invocation& typed,
               const Lookup& lookup) {
  if (what.contains('|')) {
    for (const std::string_view choice : split(what, '|')) {
      candidates.push_back({.text = std::string(choice)});
    }
    return;
  }
  for (std::string& name : lookup(what, typed)) {
    candidates.push_back({.text = std::move(name)});
  }
}

}  // namespace

std::vector<Candidate> complete(std::span<const Command> commands, std::span<const Flag> global_flags,
                                std::span<const std::string> words, const Lookup& lookup) {
  std::string last = words.empty() ? "" : words.back();
  const auto before = words.first(words.empty() ? 0 : words.size() - 1);
  std::vector<std::string> plain;  // words that are no flags and no flags' values
  Invocation typed;
  const Flag* flag = nullptr;     // the last one
  const Flag* pending = nullptr;  // whose value comes next
  for (const std::string& word : before) {
    if (word == "=") {  // bash makes three words of --output=json
      pending = flag;
    } else if (pending != nullptr) {
      typed.flags.emplace(pending->name, word);
      pending = nullptr;
    } else if (word.starts_with('-')) {
      const auto equals = word.find('=');
      flag = find_flag(commands, global_flags, word.substr(0, equals));
      pending = flag != nullptr && flag->takes == FlagValue::kRequired && equals == std::string::npos ? flag : nullptr;
      if (flag != nullptr && pending == nullptr) {
        typed.flags.emplace(flag->name, equals != std::string::npos ? word.substr(equals + 1) : "true");
      }
    } else {
      plain.push_back(word);
    }
  }
  if (last == "=") {
    pending = flag;
    last.clear();
  }
  std::vector<Candidate> candidates;
  const Command* command = nullptr;
  std::size_t length = 0;
  for (const Command& one : commands) {
    const auto parts = split(one.name, ' ');
    if (parts.size() > length && parts.size() <= plain.size() &&
        std::equal(parts.begin(), parts.end(), plain.begin())) {
      command = &one;
      length = parts.size();
    }
  }
  if (pending != nullptr) {
    add_names(candidates, pending->value, typed, lookup);
  } else if (const auto equals = last.find('='); last.starts_with('-') && equals != std::string::npos) {
    if (const Flag* const begun = find_flag(commands, global_flags, last.substr(0, equals))) {
      add_names(candidates, begun->value, typed, lookup);
      for (Candidate& candidate : candidates) {
        candidate.text = last.substr(0, equals + 1) + candidate.text;
      }
    }
  } else if (last.starts_with('-')) {
    const auto add = [&candidates](const Flag& one) {
      candidates.push_back({.text = "--" + std::string(one.name), .meaning = std::string(one.help)});
    };
    if (command != nullptr) {
      std::ranges::for_each(command->flags, add);
    }
    std::ranges::for_each(global_flags, add);
  } else if (command != nullptr) {
    if (plain.size() - length < command->most) {
      add_names(candidates, bare(command->arguments), typed, lookup);
    }
  } else {
    // Of a command of two words, the second one when the first is there.
    for (const Command& one : commands) {
      const auto parts = split(one.name, ' ');
      if (parts.size() > plain.size() && std::equal(plain.begin(), plain.end(), parts.begin())) {
        candidates.push_back({.text = std::string(parts[plain.size()]), .meaning = std::string(one.summary)});
      }
    }
  }
  std::erase_if(candidates, [&last](const Candidate& one) { return !one.text.starts_with(last); });
  return candidates;
}

void print_candidates(std::span<const std::string> words, Console& console) {
  bool files = false;
  const Lookup lookup = [&files](std::string_view what, const Invocation& typed) {
    std::vector<std::string> names;
    auto options = read_options(typed);
    files = what == "FILE";
    if (!options || (what != "RING" && what != "SHARD")) {
      return names;
    }
    options->request_timeout = kPatience;
    const std::optional<std::string> typed_ring = typed.value("ring");
    const auto cluster = Cluster::connect(*options);
    const auto rings = cluster ? read_rings(**cluster) : std::unexpected(cluster.error());
    if (!rings) {
      return names;
    }
    for (const RingFacts& ring : rings->rings) {
      if (what == "RING") {
        names.push_back(ring.name());
      } else if (!typed_ring || ring.name() == *typed_ring) {
        std::ranges::copy(ring.shard_names(), std::back_inserter(names));
      }
    }
    return names;
  };
  std::string text;
  for (const Candidate& candidate : complete(commands(), global_flags(), words, lookup)) {
    text += printable(candidate.text) + (candidate.meaning.empty() ? "" : "\t" + candidate.meaning) + "\n";
  }
  console.print(text + (files ? ":0\n" : ":4\n"));
}

Result<ExitCode> run_completion(Context& context) {
  const std::string& shell = context.invocation.arguments.front();
  if (shell != "bash" && shell != "zsh" && shell != "fish") {
    return fail(ErrorCode::kInvalid, "completion: want bash, zsh or fish, got \"" + shell + "\"");
  }
  context.console.print(shell == "bash" ? kBash : shell == "zsh" ? kZsh : kFish);
  return ExitCode::kOk;
}

}  // namespace sharder::ctl
