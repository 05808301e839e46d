#include "kube/codec/object_stripper.h"

#include <simdjson.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "kube/codec/json_fields_internal.h"

namespace sharder::kube {

namespace {

namespace ondemand = simdjson::ondemand;
using simdjson::error_code;

// Writes an object from fields as they stand in another one.
class FieldWriter {
 public:
  explicit FieldWriter(std::string& out) : out_(out) { out_ += '{'; }

  void add(const char* key_begin, std::string_view value) {
    add_key(key_begin, std::to_address(value.begin()));
    out_ += value;
  }
  // The key, and what stands between it and its value. The value follows.
  void add_key(const char* key_begin, const char* value_begin) {
    if (!std::exchange(is_first_, false)) {
      out_ += ',';
    }
    out_.append(key_begin, value_begin);
  }
  void end() { out_ += '}'; }

 private:
  std::string& out_;
  bool is_first_ = true;
};

// As for_each_field(), with the place of the key's first quote.
template <class Each>
error_code for_each_raw_field(ondemand::object& object, Each each) {
  for (auto next : object) {
    ondemand::field field;
    if (const auto error = std::move(next).get(field)) {
      return error;
    }
    const char* const key_begin = field.key().raw() - 1;
    std::string_view key;
    if (const auto error = field.unescaped_key().get(key)) {
      return error;
    }
    if (const error_code error = each(key_begin, key, field.value())) {
      return error;
    }
  }
  return simdjson::SUCCESS;
}

error_code strip_metadata(ondemand::object& metadata, std::string& out) {
  FieldWriter writer(out);
  const error_code error = for_each_raw_field(
      metadata, [&](const char* key_begin, std::string_view key, ondemand::value value) -> error_code {
        if (key == "managedFields") {
          return simdjson::SUCCESS;
        }
        std::string_view text;
        if (const auto failure = simdjson::to_json_string(value).get(text)) {
          return failure;
        }
        writer.add(key_begin, text);
        return simdjson::SUCCESS;
      });
  writer.end();
  return error;
}

error_code strip_object(ondemand::object& object, std::string& out) {
  FieldWriter writer(out);
  const error_code error =
      for_each_raw_field(object, [&](const char* key_begin, std::string_view key, ondemand::value value) -> error_code {
        if (key == "apiVersion" || key == "kind") {
          return simdjson::SUCCESS;
        }
        std::string_view text;
        if (key != "metadata") {
          if (const auto failure = simdjson::to_json_string(value).get(text)) {
            return failure;
          }
          writer.add(key_begin, text);
          return simdjson::SUCCESS;
        }
        ondemand::object metadata;
        if (const auto failure = value.get_object().get(metadata)) {
          return failure;
        }
        if (const error_code failure = raw_text(metadata, text)) {
          return failure;
        }
        if (const auto failure = metadata.reset().error()) {
          return failure;
        }
        writer.add_key(key_begin, std::to_address(text.begin()));
        return strip_metadata(metadata, out);
      });
  writer.end();
  return error;
}

}  // namespace

struct ObjectStripper::Impl {
  ondemand::parser parser;
  std::string buffer;
};

ObjectStripper::ObjectStripper() : impl_(std::make_unique<Impl>()) {}
ObjectStripper::~ObjectStripper() = default;

Result<std::string> ObjectStripper::strip(std::string_view object) {
  std::string& buffer = impl_->buffer;
  buffer = object;
  std::string stripped;
  stripped.reserve(object.size() + 2);
  const auto read = [&]() -> error_code {
    ondemand::document document;
    if (const auto error = impl_->parser.iterate(padded(buffer)).get(document)) {
      return error;
    }
    ondemand::object root;
    if (const auto error = document.get_object().get(root)) {
      return error;
    }
    const error_code error = strip_object(root, stripped);
    return error ? error : expect_end(document);
  };
  if (const error_code error = read()) {
    return fail(ErrorCode::kInvalid, std::string("not an object: ") + simdjson::error_message(error));
  }
  // The parser above checks what it looks at; the cache's readers look at everything.
  if (!nlohmann::json::accept(stripped)) {
    return fail(ErrorCode::kInvalid, "not an object: not valid JSON");
  }
  return stripped;
}

}  // namespace sharder::kube
