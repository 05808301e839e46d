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

  error_code copy(const char* key_begin, ondemand::value value) {
    std::string_view text;
    if (const auto error = simdjson::to_json_string(value).get(text)) {
      return error;
    }
    add_key(key_begin, std::to_address(text.begin()));
    out_ += text;
    return simdjson::SUCCESS;
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

error_code strip_metadata(ondemand::object& metadata, std::string& out) {
  FieldWriter writer(out);
  const error_code error = for_each_raw_field(
      metadata, [&](const char* key_begin, std::string_view key, ondemand::value value) -> error_code {
        return key == "managedFields" ? simdjson::SUCCESS : writer.copy(key_begin, value);
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
        if (key != "metadata") {
          return writer.copy(key_begin, value);
        }
        ondemand::object metadata;
        if (const auto failure = value.get_object().get(metadata)) {
          return failure;
        }
        std::string_view text;
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
