#include "ctl/command_line.h"

#include <algorithm>
#include <ranges>
#include <utility>

#include "ctl/text.h"
#include "sharder/values.h"

namespace sharder::ctl {

namespace {

class Parser {
 public:
  Parser(std::span<const Command> commands, std::span<const Flag> global_flags) : commands_(commands) {
    for (const Flag& flag : global_flags) {
      known_.push_back(&flag);
      global_.push_back(&flag);
    }
    for (const Command& command : commands) {
      for (const Flag& flag : command.flags) {
        known_.push_back(&flag);
      }
    }
  }

  Result<Invocation> parse(std::span<const std::string> arguments) {
    for (rest_ = arguments; !rest_.empty();) {
      const std::string& word = rest_.front();
      rest_ = rest_.subspan(1);
      Result<void> taken;
      if (word == "--") {
        words_.insert(words_.end(), rest_.begin(), rest_.end());
        break;
      }
      if (word.starts_with("--")) {
        taken = take_long(std::string_view(word).substr(2));
      } else if (word.size() > 1 && word.starts_with('-')) {
        taken = take_letters(std::string_view(word).substr(1));
      } else {
        words_.push_back(word);
      }
      if (!taken) {
        return std::unexpected(std::move(taken.error()));
      }
    }
    if (auto found = find_command(); !found) {
      return std::unexpected(std::move(found.error()));
    }
    if (auto checked = check(); !checked) {
      return std::unexpected(std::move(checked.error()));
    }
    return std::move(invocation_);
  }

 private:
  Result<void> take_long(std::string_view text) {
    const auto equals = text.find('=');
    const std::string_view name = text.substr(0, equals);
    const auto found = std::ranges::find(known_, name, [](const Flag* flag) { return flag->name; });
    if (name == "help") {
      invocation_.help = true;
      return {};
    }
    if (found == known_.end()) {
      std::vector<std::string_view> names;
      std::ranges::transform(known_, std::back_inserter(names), [](const Flag* flag) { return flag->name; });
      return fail(ErrorCode::kInvalid, "unknown flag --" + std::string(name) + did_you_mean(name, names, "--"));
    }
    return take_value(
        **found, equals == std::string_view::npos ? std::nullopt : std::optional(std::string(text.substr(equals + 1))));
  }

  Result<void> take_letters(std::string_view letters) {
    while (!letters.empty()) {
      const char letter = letters.front();
      letters.remove_prefix(1);
      if (letter == 'h') {
        invocation_.help = true;
        continue;
      }
      const auto found = std::ranges::find(known_, letter, [](const Flag* flag) { return flag->letter; });
      if (found == known_.end()) {
        return fail(ErrorCode::kInvalid, std::string("unknown flag -") + letter);
      }
      const bool has_value = letters.starts_with('=') || ((*found)->takes == FlagValue::kRequired && !letters.empty());
      std::optional<std::string> value;
      if (has_value) {
        value = std::string(letters.substr(letters.starts_with('=') ? 1 : 0));
        letters = {};
      }
      if (auto taken = take_value(**found, std::move(value)); !taken) {
        return taken;
      }
    }
    return {};
  }

  Result<void> take_value(const Flag& flag, std::optional<std::string> value) {
    const std::string shown = "--" + std::string(flag.name);
    if (flag.takes == FlagValue::kNone) {
      const auto truth = app::parse_go_bool(value.value_or("true"));
      if (!truth) {
        return fail(ErrorCode::kInvalid, shown + ": want true or false, got " + *value);
      }
      value = *truth ? "true" : "false";
    } else if (flag.takes == FlagValue::kRequired && !value) {
      if (rest_.empty()) {
        return fail(ErrorCode::kInvalid, shown + " needs a value: " + std::string(flag.value));
      }
      value = rest_.front();
      rest_ = rest_.subspan(1);
    }
    if (flag.value.contains('|')) {
      const std::vector<std::string_view> choices = split(flag.value, '|');
      if (std::ranges::find(choices, *value) == choices.end()) {
        return fail(ErrorCode::kInvalid, shown + ": want one of " + join(choices, ", ") + ", got \"" + *value + "\"");
      }
    }
    invocation_.flags.emplace(flag.name, value.value_or(""));
    return {};
  }

  // The longest name that the words begin with.
  Result<void> find_command() {
    if (words_.empty()) {
      return {};
    }
    if (words_.front() == "help") {
      invocation_.help = true;
      words_.erase(words_.begin());
      if (words_.empty()) {
        return {};
      }
    }
    std::size_t length = 0;
    for (const Command& command : commands_) {
      const std::vector<std::string_view> parts = split(command.name, ' ');
      if (parts.size() > length && parts.size() <= words_.size() &&
          std::ranges::equal(parts, words_ | std::views::take(parts.size()))) {
        invocation_.command = &command;
        length = parts.size();
      }
    }
    if (invocation_.command == nullptr) {
      std::vector<std::string_view> names;
      std::ranges::transform(commands_, std::back_inserter(names), &Command::name);
      const std::string two = words_.front() + (words_.size() > 1 ? " " + words_[1] : "");
      std::string hint = did_you_mean(words_.front(), names);
      hint = hint.empty() ? did_you_mean(two, names) : hint;
      return fail(ErrorCode::kInvalid, "unknown command \"" + words_.front() + "\"" + hint + "; --help lists all");
    }
    invocation_.arguments.assign(words_.begin() + static_cast<std::ptrdiff_t>(length), words_.end());
    return {};
  }

  Result<void> check() const {
    if (invocation_.command == nullptr || invocation_.help) {
      return {};
    }
    const Command& command = *invocation_.command;
    const std::string name(command.name);
    for (const auto& [flag, value] : invocation_.flags) {
      const auto has = [&flag](const auto& flags, auto projection) {
        return std::ranges::find(flags, flag, projection) != flags.end();
      };
      if (!has(command.flags, &Flag::name) && !has(global_, [](const Flag* one) { return one->name; })) {
        return fail(ErrorCode::kInvalid, std::string(name).append(" has no flag --").append(flag));
      }
    }
    const std::string usage = "usage: sharderctl " + name + " " + std::string(command.arguments);
    if (invocation_.arguments.size() < command.least) {
      return fail(ErrorCode::kInvalid, name + " needs more arguments; " + usage);
    }
    if (std::ranges::find(invocation_.arguments, "") != invocation_.arguments.end()) {
      return fail(ErrorCode::kInvalid, name + ": an argument is empty; " + usage);
    }
    if (invocation_.arguments.size() > command.most) {
      return fail(ErrorCode::kInvalid,
                  name + ": what is \"" + invocation_.arguments[command.most] + "\" for? " + usage);
    }
    return {};
  }

  std::span<const Command> commands_;
  std::vector<const Flag*> known_;  // of every command: a flag may come before the command's name
  std::vector<const Flag*> global_;
  std::span<const std::string> rest_;
  std::vector<std::string> words_;
  Invocation invocation_;
};

std::string spelled(const Flag& flag) {
  std::string text = flag.letter == 0 ? "    " : std::string("-") + flag.letter + ", ";
  text += "--" + std::string(flag.name);
  if (flag.takes == FlagValue::kRequired) {
    text += " " + std::string(flag.value);
  } else if (flag.takes == FlagValue::kOptional) {
    text += "[=" + std::string(flag.value) + "]";
  }
  return text;
}

// A term, and what it means beside it, or below it where there is no room.
void add_entry(std::string& text, const std::string& term, std::string_view meaning, std::size_t column,
               std::size_t width) {
  constexpr std::size_t kLeast = 30;
  std::string line = "  " + term;
  if (line.size() + 2 > column || width < column + kLeast) {
    text += line + "\n";
    line.clear();
    column = width < column + kLeast ? 6 : column;
  }
  for (const std::string& part : wrapped(meaning, width - column)) {
    line.resize(std::max(line.size(), column), ' ');
    text += line + part + "\n";
    line.clear();
  }
}

void add_flags(std::string& text, std::span<const Flag> flags, std::size_t width) {
  for (const Flag& flag : flags) {
    add_entry(text, spelled(flag), flag.help, 32, width);
  }
}

}  // namespace

std::optional<std::string> Invocation::value(std::string_view name) const {
  const auto [begin, end] = flags.equal_range(name);
  return begin == end ? std::nullopt : std::optional(std::prev(end)->second);
}

std::vector<std::string> Invocation::values(std::string_view name) const {
  const auto [begin, end] = flags.equal_range(name);
  std::vector<std::string> all;
  std::transform(begin, end, std::back_inserter(all), [](const auto& flag) { return flag.second; });
  return all;
}

Result<Invocation> parse_command_line(std::span<const Command> commands, std::span<const Flag> global_flags,
                                      std::span<const std::string> arguments) {
  return Parser(commands, global_flags).parse(arguments);
}

std::string help_text(std::span<const Command> commands, std::span<const Flag> global_flags, const Command* command,
                      std::size_t width) {
  width = std::clamp<std::size_t>(width, 20, 120);
  std::string text;
  if (command == nullptr) {
    for (const std::string& line :
         wrapped("usage: sharderctl COMMAND [FLAGS], or kubectl sharder COMMAND [FLAGS]", width)) {
      text += line + "\n";
    }
    text += "\ncommands:\n";
    for (const Command& one : commands) {
      add_entry(text, std::string(one.name) + (one.arguments.empty() ? "" : " ") + std::string(one.arguments),
                one.summary, 32, width);
    }
    text += "\nflags of every command:\n";
    add_flags(text, global_flags, width);
    text += "\nexit codes:\n";
    for (const auto& [code, meaning] :
         {std::pair{"0", "all is well"},
          {"1", "something is not as it ought to be"},
          {"2", "flags, names, a file or the kubeconfig are wrong"},
          {"3", "not allowed; the message names verb and resource"},
          {"124", "no answer from the API server or a failure of it, or what was waited for took too long"}}) {
      add_entry(text, code, meaning, 8, width);
    }
    return text;
  }
  text = "usage: sharderctl " + std::string(command->name) + " " + std::string(command->arguments) + "\n\n";
  for (const std::string& line : wrapped(command->summary, width)) {
    text += line + "\n";
  }
  if (!command->flags.empty()) {
    text += "\nflags:\n";
    add_flags(text, command->flags, width);
  }
  text += "\n";
  for (const std::string& line : wrapped("sharderctl --help lists the flags of every command.", width)) {
    text += line + "\n";
  }
  return text;
}

}  // namespace sharder::ctl
