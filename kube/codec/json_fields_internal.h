#pragma once

#include <simdjson.h>

#include <string>
#include <string_view>
#include <utility>

#include "base/ascii.h"

// Reading objects field by field with simdjson; for .cc files of kube/ only.
namespace sharder::kube {

// Calls `each(key_begin, key, value)` for each field of an object until it fails; `key_begin` is the place of the key's
// first quote. simdjson's own lookups cost a pass over the object for each key, and take the first of duplicate keys.
// This is one pass, and the last duplicate counts, as in every other JSON library of Kubernetes.
template <class Each>
simdjson::error_code for_each_raw_field(simdjson::ondemand::object& object, Each each) {
  for (auto next : object) {
    simdjson::ondemand::field field;
    if (const auto error = std::move(next).get(field)) {
      return error;
    }
    const char* const key_begin = field.key().raw() - 1;
    std::string_view key;
    if (const auto error = field.unescaped_key().get(key)) {
      return error;
    }
    if (const simdjson::error_code error = each(key_begin, key, field.value())) {
      return error;
    }
  }
  return simdjson::SUCCESS;
}

// The same with each(key, value).
template <class Each>
simdjson::error_code for_each_field(simdjson::ondemand::object& object, Each each) {
  return for_each_raw_field(
      object, [&each](const char*, std::string_view key, simdjson::ondemand::value value) { return each(key, value); });
}

// As above, for a value that should be an object. null counts as an object without fields.
template <class Each>
simdjson::error_code for_each_field(simdjson::ondemand::value value, Each each) {
  bool is_null = false;
  if (const auto error = value.is_null().get(is_null); error || is_null) {
    return error;
  }
  simdjson::ondemand::object object;
  if (const auto error = value.get_object().get(object)) {
    return error;
  }
  return for_each_field(object, each);
}

// The bytes of an object.
inline simdjson::error_code raw_text(simdjson::ondemand::object& object, std::string_view& text) {
  const auto error = object.raw_json().get(text);
  text = trim(text, " \t\r\n");  // simdjson's view reaches to the next bracket or comma
  return error;
}

// Nothing but white space may follow what was read.
inline simdjson::error_code expect_end(simdjson::ondemand::document& document) {
  return document.current_location().error() == simdjson::OUT_OF_BOUNDS ? simdjson::SUCCESS
                                                                        : simdjson::TRAILING_CONTENT;
}

// `text` with room behind it, into which the parser reads. `text` may be moved to other memory.
inline simdjson::padded_string_view padded(std::string& text) {
  text.reserve(text.size() + simdjson::SIMDJSON_PADDING);
  return simdjson::padded_string_view(text.data(), text.size(), text.capacity());
}

}  // namespace sharder::kube
