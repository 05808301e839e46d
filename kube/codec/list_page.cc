#include "kube/codec/list_page.h"

#include <simdjson.h>

#include "kube/codec/json_fields_internal.h"

namespace sharder::kube {

namespace {

namespace ondemand = simdjson::ondemand;
using simdjson::error_code;

error_code read_items(ondemand::value value, std::vector<std::string_view>& items) {
  items.clear();
  bool is_null = false;  // Go writes a nil slice like this
  if (const auto error = value.is_null().get(is_null); error || is_null) {
    return error;
  }
  ondemand::array array;
  if (const auto error = value.get_array().get(array)) {
    return error;
  }
  for (auto next : array) {
    ondemand::object object;
    if (const auto error = next.get_object().get(object)) {
      return error;
    }
    if (const error_code error = raw_text(object, items.emplace_back())) {
      return error;
    }
  }
  return simdjson::SUCCESS;
}

// metadata.resourceVersion and metadata.continue
error_code read_list_metadata(ondemand::value value, ListPage& page) {
  return for_each_field(value, [&](std::string_view key, ondemand::value field) -> error_code {
    if (key != "resourceVersion" && key != "continue") {
      return simdjson::SUCCESS;
    }
    std::string_view text;
    if (const auto error = field.get_string().get(text)) {
      return error;
    }
    (key == "continue" ? page.continue_token : page.resource_version) = text;
    return simdjson::SUCCESS;
  });
}

error_code read_list(simdjson::padded_string_view text, ListPage& page, bool& has_items) {
  ondemand::parser parser;
  ondemand::document document;
  if (const auto error = parser.iterate(text).get(document)) {
    return error;
  }
  ondemand::object list;
  if (const auto error = document.get_object().get(list)) {
    return error;
  }
  const error_code error = for_each_field(list, [&](std::string_view key, ondemand::value field) -> error_code {
    if (key == "metadata") {
      return read_list_metadata(field, page);
    }
    if (key == "items") {
      has_items = true;
      return read_items(field, page.items);
    }
    return simdjson::SUCCESS;
  });
  return error ? error : expect_end(document);
}

}  // namespace

Result<ListPage> decode_list_page(std::string& text) {
  ListPage page;
  bool has_items = false;
  if (const error_code error = read_list(padded(text), page, has_items)) {
    return fail(ErrorCode::kInvalid, std::string("not a list: ") + simdjson::error_message(error));
  }
  if (!has_items) {
    return fail(ErrorCode::kInvalid, "not a list: it has no items");
  }
  return page;
}

}  // namespace sharder::kube
