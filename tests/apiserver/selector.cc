#include "tests/apiserver/selector.h"

#include <algorithm>
#include <charconv>

#include "tests/apiserver/validation.h"

namespace sharder::apiserver {

namespace {

using Operator = Requirement::Operator;

std::optional<long> number(std::string_view text) {
  long value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty() ? std::optional(value)
                                                                                   : std::nullopt;
}

Status malformed(std::string_view text, std::string_view why) {
  return failure(400, "unable to parse requirement: " + std::string(why) + " in \"" + std::string(text) + "\"");
}

// Splits a label selector into words and the signs ( ) , ! = == != < >.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  std::string_view peek() {
    const std::size_t at = at_;
    const std::string_view word = next();
    at_ = at;
    return word;
  }
  // "" at the end.
  std::string_view next() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) {
      ++at_;
    }
    const std::size_t start = at_;
    if (at_ == text_.size()) {
      return {};
    }
    if (is_sign(text_[at_])) {
      ++at_;
      const char first = text_[start];
      if ((first == '=' || first == '!') && at_ < text_.size() && text_[at_] == '=') {
        ++at_;
      }
    } else {
      while (at_ < text_.size() && !is_sign(text_[at_]) && text_[at_] != ' ' && text_[at_] != '\t') {
        ++at_;
      }
    }
    return text_.substr(start, at_ - start);
  }

  static bool is_sign(char c) { return std::string_view("(),!=<>").contains(c); }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
};

bool is_word(std::string_view token) {
  return !token.empty() && !Lexer::is_sign(token.front());
}

// "(a,b)": the words between the brackets; an empty place is the empty value.
std::optional<std::set<std::string, std::less<>>> value_set(Lexer& lexer) {
  if (lexer.next() != "(") {
    return std::nullopt;
  }
  std::set<std::string, std::less<>> values;
  std::string pending;
  while (true) {
    const std::string_view token = lexer.next();
    if (token == "," || token == ")") {
      values.insert(pending);
      pending.clear();
      if (token == ")") {
        return values;
      }
    } else if (is_word(token) && pending.empty()) {
      pending = token;
    } else {
      return std::nullopt;
    }
  }
}

Outcome<Requirement> parse_requirement(Lexer& lexer, std::string_view whole) {
  Requirement requirement;
  std::string_view token = lexer.next();
  if (token == "!") {
    requirement.op = Operator::kDoesNotExist;
    token = lexer.next();
  }
  if (!is_word(token)) {
    return refuse(malformed(whole, "a key is missing"));
  }
  requirement.key = token;
  if (const std::string wrong = wrong_label_key(requirement.key); !wrong.empty()) {
    return refuse(malformed(whole, wrong));
  }
  const std::string_view sign = lexer.peek();
  if (requirement.op == Operator::kDoesNotExist || sign.empty() || sign == ",") {
    return requirement;
  }
  lexer.next();
  if (sign == "in" || sign == "notin") {
    requirement.op = sign == "in" ? Operator::kIn : Operator::kNotIn;
    auto values = value_set(lexer);
    if (!values) {
      return refuse(malformed(whole, "a list of values in brackets is missing"));
    }
    requirement.values = std::move(*values);
  } else if (sign == "=" || sign == "==" || sign == "!=" || sign == "<" || sign == ">") {
    requirement.op = sign == "!="  ? Operator::kNotIn
                     : sign == "<" ? Operator::kLess
                     : sign == ">" ? Operator::kGreater
                                   : Operator::kIn;
    const std::string_view value = is_word(lexer.peek()) ? lexer.next() : std::string_view();
    if (requirement.op == Operator::kLess || requirement.op == Operator::kGreater) {
      if (!number(value)) {
        return refuse(malformed(whole, "no number after < or >"));
      }
    }
    requirement.values.emplace(value);
  } else {
    return refuse(malformed(whole, "an unknown operator"));
  }
  for (const std::string& value : requirement.values) {
    if (const std::string wrong = wrong_label_value(value); !wrong.empty()) {
      return refuse(malformed(whole, wrong));
    }
  }
  return requirement;
}

}  // namespace

bool Requirement::matches(const Labels& labels) const {
  const auto label = labels.find(key);
  const bool present = label != labels.end();
  switch (op) {
    case Operator::kIn:
      return present && values.contains(label->second);
    case Operator::kNotIn:
      return !present || !values.contains(label->second);
    case Operator::kExists:
      return present;
    case Operator::kDoesNotExist:
      return !present;
    case Operator::kGreater:
    case Operator::kLess: {
      const auto value = present ? number(label->second) : std::nullopt;
      const auto bound = number(*values.begin());
      return value && bound && (op == Operator::kGreater ? *value > *bound : *value < *bound);
    }
  }
  return false;
}

Outcome<LabelSelector> LabelSelector::parse(std::string_view text) {
  LabelSelector selector;
  Lexer lexer(text);
  if (lexer.peek().empty()) {
    return selector;
  }
  while (true) {
    auto requirement = parse_requirement(lexer, text);
    if (!requirement) {
      return refuse(requirement.error());
    }
    selector.requirements_.push_back(std::move(*requirement));
    const std::string_view token = lexer.next();
    if (token.empty()) {
      return selector;
    }
    if (token != ",") {
      return refuse(malformed(text, "a comma is missing"));
    }
  }
}

Outcome<LabelSelector> LabelSelector::from_json(const nlohmann::json& selector) {
  LabelSelector result;
  if (selector.is_null()) {
    return result;
  }
  try {
    const nlohmann::json labels = selector.value("matchLabels", nlohmann::json::object());
    for (const auto& [key, value] : labels.items()) {
      result.requirements_.push_back({key, Operator::kIn, {value.get<std::string>()}});
    }
    for (const auto& expression : selector.value("matchExpressions", nlohmann::json::array())) {
      Requirement requirement{.key = expression.at("key").get<std::string>()};
      const auto op = expression.at("operator").get<std::string>();
      requirement.op = op == "In"       ? Operator::kIn
                       : op == "NotIn"  ? Operator::kNotIn
                       : op == "Exists" ? Operator::kExists
                                        : Operator::kDoesNotExist;
      if (requirement.op == Operator::kDoesNotExist && op != "DoesNotExist") {
        return refuse(failure(400, "\"" + op + "\" is no label selector operator"));
      }
      for (const auto& value : expression.value("values", nlohmann::json::array())) {
        requirement.values.insert(value.get<std::string>());
      }
      result.requirements_.push_back(std::move(requirement));
    }
  } catch (const nlohmann::json::exception& error) {
    return refuse(failure(400, std::string("malformed label selector: ") + error.what()));
  }
  return result;
}

bool LabelSelector::matches(const Labels& labels) const {
  return std::ranges::all_of(requirements_, [&](const Requirement& r) { return r.matches(labels); });
}

Outcome<FieldSelector> FieldSelector::parse(std::string_view text) {
  FieldSelector selector;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view term = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    const std::size_t sign = term.find_first_of("!=");
    if (sign == std::string_view::npos || (term[sign] == '!' && !term.substr(sign + 1).starts_with('='))) {
      return refuse(failure(400, "invalid field selector: \"" + std::string(term) + "\""));
    }
    const std::string_view field = term.substr(0, sign);
    const std::size_t length = term.substr(sign).starts_with("==") || term[sign] == '!' ? 2 : 1;
    if (field != "metadata.name" && field != "metadata.namespace") {
      return refuse(failure(400, "field label not supported: " + std::string(field)));
    }
    selector.terms_.push_back({field == "metadata.name", term[sign] != '!', std::string(term.substr(sign + length))});
  }
  return selector;
}

bool FieldSelector::matches(const Object& object) const {
  return std::ranges::all_of(terms_, [&](const Term& term) {
    return (term.value == (term.is_name ? object.name() : object.object_namespace())) == term.equal;
  });
}

std::optional<std::string> FieldSelector::name() const {
  for (const Term& term : terms_) {
    if (term.is_name && term.equal) {
      return term.value;
    }
  }
  return std::nullopt;
}

}  // namespace sharder::apiserver
