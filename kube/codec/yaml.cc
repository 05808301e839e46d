#include "kube/codec/yaml.h"

#include <yaml.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <map>
#include <new>
#include <optional>
#include <ranges>
#include <utility>

namespace sharder::kube {

namespace {

using nlohmann::json;

// Far beyond what people write by hand. Each level costs stack.
constexpr int kMaxDepth = 64;
constexpr std::size_t kMaxNodes = 1'000'000;
constexpr int kMaxDirectives = 100;  // libyaml compares each with all others

// The functions below throw Error, because they call each other as deep as the text is nested. parse_yaml() turns it
// into a Result.
[[noreturn]] void reject(const yaml_mark_t& mark, const std::string& why) {
  throw Error{
      .code = ErrorCode::kInvalid,
      .message = "line " + std::to_string(mark.line + 1) + ", column " + std::to_string(mark.column + 1) + ": " + why};
}

enum class Tag { kNone, kString, kBool, kInteger, kNumber, kNull, kMerge, kUnsupported, kOther };

Tag to_tag(const yaml_char_t* tag) {
  static constexpr std::string_view kPrefix = "tag:yaml.org,2002:";
  static constexpr std::array<std::pair<std::string_view, Tag>, 8> kTags{{{"str", Tag::kString},
                                                                          {"bool", Tag::kBool},
                                                                          {"int", Tag::kInteger},
                                                                          {"float", Tag::kNumber},
                                                                          {"null", Tag::kNull},
                                                                          {"binary", Tag::kUnsupported},
                                                                          {"timestamp", Tag::kUnsupported},
                                                                          {"merge", Tag::kMerge}}};
  if (tag == nullptr) {
    return Tag::kNone;
  }
  std::string_view name(reinterpret_cast<const char*>(tag));  // NOLINT: libyaml's type of a character
  if (!name.starts_with(kPrefix)) {
    return Tag::kOther;
  }
  name.remove_prefix(kPrefix.size());
  const auto* const found = std::ranges::find(kTags, name, &std::pair<std::string_view, Tag>::first);
  return found == kTags.end() ? Tag::kOther : found->second;
}

struct Node {
  enum class Kind { kScalar, kSequence, kMapping, kAlias };
  Kind kind = Kind::kScalar;
  Tag tag = Tag::kNone;  // of scalars; Go ignores other tags
  bool plain = false;    // without quotes and tag
  bool entered = false;  // of an alias: its target is being read
  yaml_mark_t mark{};
  std::string text;
  std::vector<Node*> children;  // of mappings: key, value, key, value
  Node* target = nullptr;       // of an alias
};

// libyaml's events. go-yaml is a translation of libyaml, so both agree on what is YAML.
class Events {
 public:
  explicit Events(std::string_view text) {
    if (yaml_parser_initialize(&parser_) == 0) {
      throw std::bad_alloc();
    }
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()),  // NOLINT
                                 text.size());
  }
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;
  ~Events() {
    yaml_event_delete(&event_);
    yaml_parser_delete(&parser_);
  }

  // Valid until the next call.
  const yaml_event_t& next() {
    yaml_event_delete(&event_);
    if (yaml_parser_parse(&parser_, &event_) == 0) {
      // libyaml's problems are constants: they quote nothing of the text.
      const bool placed = parser_.error == YAML_SCANNER_ERROR || parser_.error == YAML_PARSER_ERROR;
      reject(placed ? parser_.problem_mark : parser_.mark, parser_.problem == nullptr ? "no YAML" : parser_.problem);
    }
    return event_;
  }

 private:
  yaml_parser_t parser_{};
  yaml_event_t event_{};
};

std::string to_string(const yaml_char_t* text) {
  return text == nullptr ? "" : reinterpret_cast<const char*>(text);  // NOLINT
}

// The nodes of one document.
class Composer {
 public:
  explicit Composer(Events& events) : events_(events) {}

  // `event` starts the node.
  Node* compose(const yaml_event_t& event, int depth) {
    if (depth > kMaxDepth) {
      reject(event.start_mark, "nested too deeply");
    }
    if (nodes_.size() == kMaxNodes) {
      reject(event.start_mark, "too many values");
    }
    Node& node = nodes_.emplace_back();
    node.mark = event.start_mark;
    switch (event.type) {
      case YAML_SCALAR_EVENT:
        name(event.data.scalar.anchor, node);
        read_scalar(event, node);
        break;
      case YAML_ALIAS_EVENT:
        read_alias(event, node);
        break;
      case YAML_SEQUENCE_START_EVENT:
        name(event.data.sequence_start.anchor, node);
        node.kind = Node::Kind::kSequence;
        read_children(node, YAML_SEQUENCE_END_EVENT, depth);
        break;
      default:
        name(event.data.mapping_start.anchor, node);
        node.kind = Node::Kind::kMapping;
        read_children(node, YAML_MAPPING_END_EVENT, depth);
    }
    return &node;
  }

 private:
  void name(const yaml_char_t* anchor, Node& node) {
    if (anchor != nullptr) {
      anchors_[to_string(anchor)] = &node;
    }
  }

  static void read_scalar(const yaml_event_t& event, Node& node) {
    node.tag = to_tag(event.data.scalar.tag);
    node.plain = event.data.scalar.plain_implicit != 0;
    node.text.assign(reinterpret_cast<const char*>(event.data.scalar.value), event.data.scalar.length);  // NOLINT
  }

  void read_alias(const yaml_event_t& event, Node& node) {
    node.kind = Node::Kind::kAlias;
    const auto found = anchors_.find(to_string(event.data.alias.anchor));
    if (found == anchors_.end()) {
      reject(event.start_mark, "an alias without an anchor");
    }
    node.target = found->second;
  }

  void read_children(Node& node, yaml_event_type_t end, int depth) {
    for (const yaml_event_t* event = &events_.next(); event->type != end; event = &events_.next()) {
      node.children.push_back(compose(*event, depth + 1));
    }
  }

  Events& events_;
  std::deque<Node> nodes_;  // their addresses stay
  std::map<std::string, Node*> anchors_;
};

std::optional<json> look_up(std::string_view text) {
  static const std::map<std::string_view, json> all = [] {
    std::map<std::string_view, json> words;
    for (const char* word : {"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"}) {
      words[word] = true;
    }
    for (const char* word : {"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"}) {
      words[word] = false;
    }
    for (const char* word : {"", "~", "null", "Null", "NULL"}) {
      words[word] = nullptr;
    }
    for (const char* word : {".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"}) {
      words[word] = HUGE_VAL;
    }
    for (const char* word : {"-.inf", "-.Inf", "-.INF"}) {
      words[word] = -HUGE_VAL;
    }
    for (const char* word : {".nan", ".NaN", ".NAN"}) {
      words[word] = std::nan("");
    }
    return words;
  }();
  const auto found = all.find(text);
  return found == all.end() ? std::nullopt : std::optional(found->second);
}

// Go's strconv.ParseInt and, above its range, ParseUint. Base 0: the prefix decides (0x, 0o, 0b or 0).
std::optional<json> to_integer(std::string_view text, int base) {
  const bool sign = text.starts_with('-') || text.starts_with('+');
  const bool negative = text.starts_with('-');
  text.remove_prefix(sign ? 1 : 0);
  if (base == 0) {
    const auto prefixed = [&](char lower, char upper) {
      return text.size() > 2 && text[0] == '0' && (text[1] == lower || text[1] == upper);
    };
    base = prefixed('x', 'X') ? 16 : prefixed('b', 'B') ? 2 : prefixed('o', 'O') || text.starts_with('0') ? 8 : 10;
    text.remove_prefix(prefixed('x', 'X') || prefixed('b', 'B') || prefixed('o', 'O') ? 2 : 0);
  }
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  constexpr std::uint64_t kMaxSigned = INT64_MAX;
  if (negative) {
    return value > kMaxSigned + 1 ? std::nullopt : std::optional<json>(static_cast<std::int64_t>(0 - value));
  }
  if (value > kMaxSigned) {
    return sign ? std::nullopt : std::optional<json>(value);
  }
  return static_cast<std::int64_t>(value);
}

// [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?
bool is_number(std::string_view text) {
  const auto skip = [&text](std::string_view characters, std::size_t most) {
    const auto count = std::min({text.find_first_not_of(characters), text.size(), most});
    text.remove_prefix(count);
    return count;
  };
  constexpr std::string_view kDigits = "0123456789";
  skip("+-", 1);
  const auto whole = skip(kDigits, text.size());
  const auto fraction = skip(".", 1) == 1 ? skip(kDigits, text.size()) : 0;
  if (whole + fraction == 0) {
    return false;
  }
  if (skip("eE", 1) == 1) {
    skip("+-", 1);
    return skip(kDigits, text.size()) > 0 && text.empty();
  }
  return text.empty();
}

std::optional<json> to_number(const std::string& text) {
  const double value = is_number(text) ? std::strtod(text.c_str(), nullptr) : HUGE_VAL;
  return std::isinf(value) ? std::nullopt : std::optional<json>(value);  // a number too large is a string, as in Go
}

bool underscores_between_digits(std::string_view text) {
  const auto digit = [&](std::size_t at) { return at < text.size() && text[at] >= '0' && text[at] <= '9'; };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '_' && !(digit(i - 1) && digit(i + 1))) {
      return false;
    }
  }
  return true;
}

// The value of a plain scalar. Its first character decides which types are tried, as in go-yaml.
json resolve(const std::string& text) {
  if (auto word = look_up(text)) {
    return *std::move(word);
  }
  std::string digits = text;
  std::erase(digits, '_');
  if (text.starts_with('.')) {
    return underscores_between_digits(text) ? to_number(digits).value_or(text) : json(text);
  }
  if (text.find_first_of("+-0123456789") != 0) {
    return text;
  }
  if (auto integer = to_integer(digits, 0)) {
    return *std::move(integer);
  }
  if (auto number = to_number(digits)) {
    return *std::move(number);
  }
  if (digits.starts_with("0b")) {  // 0b-1
    return to_integer(std::string_view(digits).substr(2), 2).value_or(text);
  }
  return text;
}

// Whether `value`, which was read without the tag, has the type that the tag names.
bool fits(Tag tag, const json& value) {
  switch (tag) {
    case Tag::kBool:
      return value.is_boolean();
    case Tag::kInteger:
      return value.is_number_integer();
    case Tag::kNumber:
      return value.is_number();
    case Tag::kNull:
      return value.is_null();
    default:
      return true;
  }
}

json decode_scalar(const Node& node) {
  switch (node.tag) {
    case Tag::kNone:
      return node.plain ? resolve(node.text) : json(node.text);
    case Tag::kBool:
    case Tag::kInteger:
    case Tag::kNumber:
    case Tag::kNull: {
      json value = resolve(node.text);
      if (!fits(node.tag, value)) {
        reject(node.mark, "the value does not match its tag");
      }
      return value;
    }
    case Tag::kUnsupported:
      reject(node.mark, "this tag is not supported");
    default:
      return node.text;
  }
}

// JSON has no NaN, no infinity and only one type of number. Go writes a whole number as an integer.
json to_json_number(double number, const Node& node) {
  if (!std::isfinite(number)) {
    reject(node.mark, "JSON has no such number");
  }
  constexpr double kTwoTo63 = 9223372036854775808.0;
  const bool whole = std::trunc(number) == number;
  if (whole && number >= -kTwoTo63 && number < kTwoTo63) {
    return static_cast<std::int64_t>(number);
  }
  if (whole && number >= 0 && number < 2 * kTwoTo63) {
    return static_cast<std::uint64_t>(number);
  }
  return number;
}

// Go's strconv.FormatFloat(number, 'g', -1, 32).
std::string to_key(double number) {
  if (std::isnan(number)) {
    return ".nan";
  }
  const auto single = static_cast<float>(number);
  if (std::isinf(single)) {
    return single > 0 ? ".inf" : "-.inf";
  }
  std::array<char, 64> buffer{};
  const auto written = [&](std::chars_format format) {
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), single, format).ptr;
    return std::string(buffer.data(), end);
  };
  std::string scientific = written(std::chars_format::scientific);
  const int exponent = std::atoi(scientific.c_str() + scientific.find('e') + 1);
  constexpr int kLargestFixed = 5;
  return exponent < -4 || exponent > kLargestFixed ? scientific : written(std::chars_format::fixed);
}

// The counts that go-yaml's limit on aliases uses.
struct Effort {
  std::size_t nodes = 0;
  std::size_t aliased = 0;  // of these, the ones that came through an alias

  // go-yaml's "excessive aliasing": up to kFew nodes 99 % may come from aliases, from kMany on a tenth.
  bool excessive() const {
    constexpr double kFew = 400'000;
    constexpr double kMany = 4'000'000;
    const auto count = static_cast<double>(nodes);
    const double allowed = 0.99 - 0.89 * std::clamp((count - kFew) / (kMany - kFew), 0.0, 1.0);
    return aliased > 100 && nodes > 1000 && static_cast<double>(aliased) / count > allowed;
  }
};

// Does what go-yaml's decoder does, and what sigs.k8s.io/yaml does with the result.
class Decoder {
 public:
  json decode(Node& node, int depth) {
    count(node, depth);
    json value;
    switch (node.kind) {
      case Node::Kind::kScalar:
        value = decode_scalar(node);
        return value.is_number_float() ? to_json_number(value.get<double>(), node) : value;
      case Node::Kind::kSequence:
        return decode_sequence(node, depth);
      case Node::Kind::kMapping:
        value = json::object();
        decode_mapping(node, value, depth);
        return value;
      case Node::Kind::kAlias:
        follow(node, [&](Node& target) { value = decode(target, depth + 1); });
        return value;
    }
    return value;
  }

  std::vector<std::string> take_repeated() { return std::move(repeated_); }

 private:
  void count(const Node& node, int depth) {
    if (depth > kMaxDepth) {
      reject(node.mark, "nested too deeply");
    }
    ++effort_.nodes;
    effort_.aliased += aliases_ > 0 ? 1 : 0;
    if (effort_.excessive()) {
      reject(node.mark, "too much comes from aliases");
    }
  }

  template <class Read>
  void follow(Node& alias, Read read) {
    if (std::exchange(alias.entered, true)) {
      reject(alias.mark, "an alias inside its own anchor");
    }
    ++aliases_;
    read(*alias.target);
    --aliases_;
    alias.entered = false;
  }

  json decode_sequence(const Node& node, int depth) {
    json list = json::array();
    for (Node* const child : node.children) {
      const Step step(path_, "[" + std::to_string(list.size()) + "]");
      list.push_back(decode(*child, depth + 1));
    }
    return list;
  }

  // Decodes into an object that may have fields already.
  void decode_mapping(const Node& node, json& object, int depth) {
    for (std::size_t i = 0; i + 1 < node.children.size(); i += 2) {
      Node& key = *node.children[i];
      Node& value = *node.children[i + 1];
      if (is_merge(key)) {
        merge(value, object, depth + 1);
        continue;
      }
      std::string name = decode_key(key, depth + 1);
      const Step step(path_, path_.empty() ? name : "." + name);
      if (object.contains(name)) {
        repeated_.push_back(path_);
      }
      object[name] = decode(value, depth + 1);
    }
  }

  static bool is_merge(const Node& key) {
    return key.kind == Node::Kind::kScalar && key.text == "<<" && (key.plain || key.tag == Tag::kMerge);
  }

  void merge(Node& source, json& object, int depth) {
    if (source.kind != Node::Kind::kSequence) {
      return merge_mapping(source, object, depth);
    }
    count(source, depth);
    // Backwards, because the first of a list wins.
    for (Node* const child : source.children | std::views::reverse) {
      merge_mapping(*child, object, depth + 1);
    }
  }

  void merge_mapping(Node& source, json& object, int depth) {
    Node& mapping = source.kind == Node::Kind::kAlias ? *source.target : source;
    if (mapping.kind != Node::Kind::kMapping) {
      reject(source.mark, "<< needs a mapping or a list of mappings");
    }
    count(source, depth);
    if (&mapping == &source) {
      return decode_mapping(mapping, object, depth);
    }
    follow(source, [&](Node& target) {
      count(target, depth + 1);
      decode_mapping(target, object, depth + 1);
    });
  }

  std::string decode_key(Node& key, int depth) {
    Node& scalar = key.kind == Node::Kind::kAlias ? *key.target : key;
    if (scalar.kind != Node::Kind::kScalar) {
      reject(key.mark, "a key that is no string");
    }
    count(key, depth);
    const json value = decode_scalar(scalar);
    if (value.is_number_float()) {
      return to_key(value.get<double>());
    }
    if (value.is_null() || (value.is_number_unsigned())) {
      reject(key.mark, "a key that is no string");
    }
    return value.is_string() ? value.get<std::string>() : value.dump();
  }

  // One step down the path. The end of the scope undoes it.
  class Step {
   public:
    Step(std::string& path, const std::string& step) : path_(path), size_(path.size()) { path += step; }
    Step(const Step&) = delete;
    Step& operator=(const Step&) = delete;
    ~Step() { path_.resize(size_); }

   private:
    std::string& path_;
    const std::size_t size_;
  };

  Effort effort_;
  int aliases_ = 0;  // how many we are inside of
  std::string path_;
  std::vector<std::string> repeated_;
};

// Whether anything but empty documents follows. Broken YAML counts as something.
bool anything_follows(Events& events) {
  try {
    for (;;) {
      const yaml_event_t& event = events.next();
      switch (event.type) {
        case YAML_STREAM_END_EVENT:
          return false;
        case YAML_DOCUMENT_START_EVENT:
        case YAML_DOCUMENT_END_EVENT:
          break;
        case YAML_SCALAR_EVENT:
          if (event.data.scalar.length == 0 && event.data.scalar.plain_implicit != 0) {
            break;
          }
          return true;
        default:
          return true;
      }
    }
  } catch (const Error&) {
    return true;
  }
}

void check_directives(std::string_view text) {
  int directives = 0;
  for (auto at = text.find("%TAG"); at != std::string_view::npos; at = text.find("%TAG", at + 1)) {
    directives += at == 0 || text[at - 1] == '\n' || text[at - 1] == '\r' ? 1 : 0;
  }
  if (directives > kMaxDirectives) {
    reject({}, "too many directives");
  }
}

YamlDocument parse(std::string_view text) {
  check_directives(text);
  Events events(text);
  YamlDocument document;
  events.next();  // the stream's start
  const yaml_event_t& start = events.next();
  if (start.type == YAML_STREAM_END_EVENT) {
    return document;
  }
  const yaml_version_directive_t* const version = start.data.document_start.version_directive;
  if (version != nullptr && version->minor != 1) {
    reject(start.start_mark, "only YAML 1.1 is read");
  }
  Composer composer(events);
  Node* const root = composer.compose(events.next(), 0);
  events.next();  // the document's end, which go-yaml reads as well
  Decoder decoder;
  document.value = decoder.decode(*root, 0);
  document.repeated = decoder.take_repeated();
  document.more = anything_follows(events);
  return document;
}

}  // namespace

Result<YamlDocument> parse_yaml(std::string_view text) {
  try {
    return parse(text);
  } catch (const Error& error) {
    return std::unexpected(error);
  }
}

}  // namespace sharder::kube
