#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

// YAML as Kubernetes reads it, in kubectl and in every Go component: sigs.k8s.io/yaml, which turns YAML 1.1 into JSON.
// The result has only JSON's types: yes, no, on and off are truth values, 0x10, 0o17, 017 and 1_000 are integers, a
// date is a string, .inf and .nan are errors. A whole number is an integer however it is written (1e3). A `<<` inserts
// the fields of another mapping. A field that occurs again later in the text wins; in a list of mappings the first
// mapping wins.
namespace sharder::kube {

struct YamlDocument {
  nlohmann::json value;  // null for an empty text
  // Paths of fields that occur more than once, by a merge too: "webhook.config.annotations.a". The last one counts.
  std::vector<std::string> repeated;
  bool more = false;  // something follows the first document; it was not read, as in Go
};

// The first document of a text in UTF-8 or UTF-16. Its depth, the number of its nodes and its growth by aliases are
// limited. kInvalid: "line 3, column 5: mapping values are not allowed in this context". No message quotes the text,
// which may hold secrets.
Result<YamlDocument> parse_yaml(std::string_view text);

}  // namespace sharder::kube
