#include "ctl/document.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/ascii.h"
#include "base/utf8.h"
#include "ctl/text.h"

namespace sharder::ctl {

namespace {

using nlohmann::ordered_json;

// Texts that no reader takes for something else: they begin with a letter, have only harmless characters, and are no
// word with a meaning. All others are quoted as in JSON, which is YAML too.
bool is_plain(const std::string& text) {
  constexpr std::string_view kWords[] = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"};
  const auto harmless = [](char c) { return is_alphanumeric(c) || c == '-' || c == '_' || c == '.' || c == '/'; };
  return !text.empty() && (is_lower(text[0]) || is_upper(text[0])) && std::ranges::all_of(text, harmless) &&
         std::ranges::find(kWords, to_lower(text)) == std::end(kWords);
}

// As JSON, which YAML understands too, without the characters that YAML does not allow. They are all in strings: what
// is between them is ASCII.
std::string dumped(const ordered_json& value, int indent) {
  const std::string text = value.dump(indent, ' ', false, ordered_json::error_handler_t::replace);
  std::string clean;
  clean.reserve(text.size());
  for (std::string_view rest = text; !rest.empty();) {
    const auto [code, bytes] = first_utf8(rest);
    rest.remove_prefix(bytes.size());
    if (code != '\n' && steers_terminal(code)) {
      clean += escaped(code);
    } else {
      clean += bytes;
    }
  }
  return clean;
}

std::string scalar(const ordered_json& value) {
  if (value.is_string() && is_plain(value.get_ref<const std::string&>())) {
    return value.get<std::string>();
  }
  return dumped(value, -1);
}

bool is_block(const ordered_json& value) {
  return value.is_structured() && !value.empty();
}

void write(std::string& text, const ordered_json& value, std::size_t indent) {
  const std::string margin(indent, ' ');
  if (!is_block(value)) {
    text += margin + scalar(value) + "\n";
  } else if (value.is_array()) {
    for (const ordered_json& element : value) {
      std::string inner;
      write(inner, element, indent + 2);
      inner.replace(0, indent + 2, margin + "- ");
      text += inner;
    }
  } else {
    for (const auto& [key, element] : value.items()) {
      text += margin + scalar(key) + ":";
      if (is_block(element)) {
        text += "\n";
        write(text, element, element.is_array() ? indent : indent + 2);
      } else {
        text += " " + scalar(element) + "\n";
      }
    }
  }
}

}  // namespace

ordered_json document(std::string_view kind) {
  return ordered_json{{"apiVersion", kApiVersion}, {"kind", kind}};
}

std::string to_json_text(const ordered_json& value) {
  return dumped(value, 2) + "\n";
}

std::string to_yaml(const ordered_json& value) {
  std::string text;
  write(text, value, 0);
  return text;
}

}  // namespace sharder::ctl
