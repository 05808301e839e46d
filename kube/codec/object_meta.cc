#include "kube/codec/object_meta.h"

#include <simdjson.h>

#include <algorithm>

#include "kube/codec/json_fields_internal.h"
#include "kube/codec/list_page.h"
#include "kube/codec/protobuf_internal.h"

namespace sharder::kube {

namespace {

namespace ondemand = simdjson::ondemand;
using simdjson::error_code;

error_code read_text(ondemand::value value, std::string& text) {
  text.clear();
  bool is_null = false;
  if (const auto error = value.is_null().get(is_null); error || is_null) {
    return error;
  }
  std::string_view view;
  const auto error = value.get_string().get(view);
  text = view;
  return error;
}

error_code read_labels(ondemand::value value, ObjectMeta& meta) {
  meta.labels.clear();
  return for_each_field(value, [&](std::string_view key, ondemand::value field) -> error_code {
    const auto known = std::ranges::find(meta.labels, key, &std::pair<std::string, std::string>::first);
    auto& label = known == meta.labels.end() ? meta.labels.emplace_back(key, "") : *known;
    return read_text(field, label.second);
  });
}

error_code read_owner(ondemand::value value, std::optional<OwnerReference>& controller) {
  OwnerReference owner;
  bool is_controller = false;
  const error_code error = for_each_field(value, [&](std::string_view key, ondemand::value field) -> error_code {
    if (key == "apiVersion") {
      return read_text(field, owner.api_version);
    }
    if (key == "kind") {
      return read_text(field, owner.kind);
    }
    if (key == "name") {
      return read_text(field, owner.name);
    }
    if (key == "controller") {
      bool is_null = false;
      const auto failure = field.is_null().get(is_null);
      return failure || is_null ? failure : field.get_bool().get(is_controller);
    }
    return simdjson::SUCCESS;
  });
  if (!error && is_controller && !controller) {
    controller = std::move(owner);
  }
  return error;
}

error_code read_owners(ondemand::value value, ObjectMeta& meta) {
  meta.controller.reset();
  bool is_null = false;
  if (const auto error = value.is_null().get(is_null); error || is_null) {
    return error;
  }
  ondemand::array owners;
  if (const auto error = value.get_array().get(owners)) {
    return error;
  }
  for (auto next : owners) {
    ondemand::value owner;
    if (const auto error = std::move(next).get(owner)) {
      return error;
    }
    if (const error_code error = read_owner(owner, meta.controller)) {
      return error;
    }
  }
  return simdjson::SUCCESS;
}

error_code read_meta(ondemand::value value, ObjectMeta& meta) {
  meta = {};
  return for_each_field(value, [&](std::string_view key, ondemand::value field) -> error_code {
    if (key == "name") {
      return read_text(field, meta.name);
    }
    if (key == "namespace") {
      return read_text(field, meta.object_namespace);
    }
    if (key == "uid") {
      return read_text(field, meta.uid);
    }
    if (key == "resourceVersion") {
      return read_text(field, meta.resource_version);
    }
    if (key == "labels") {
      return read_labels(field, meta);
    }
    return key == "ownerReferences" ? read_owners(field, meta) : simdjson::SUCCESS;
  });
}

}  // namespace

std::optional<std::string_view> ObjectMeta::label(std::string_view key) const {
  const auto found = std::ranges::find(labels, key, &std::pair<std::string, std::string>::first);
  return found == labels.end() ? std::nullopt : std::optional<std::string_view>(found->second);
}

struct ObjectMetaDecoder::Impl {
  ondemand::parser parser;
  std::string buffer;
};

ObjectMetaDecoder::ObjectMetaDecoder() : impl_(std::make_unique<Impl>()) {}
ObjectMetaDecoder::~ObjectMetaDecoder() = default;

Result<std::string> ObjectMetaDecoder::decode_list(std::string& page,
                                                   const std::function<void(const Result<ObjectMeta>&)>& consumer) {
  if (is_protobuf(page)) {
    return decode_protobuf_list(page, consumer);
  }
  auto list = decode_list_page(page);
  if (!list) {
    return std::unexpected(std::move(list.error()));
  }
  for (const std::string_view item : list->items) {
    consumer(decode(item));
  }
  return std::move(list->continue_token);
}

Result<ObjectMeta> ObjectMetaDecoder::decode(std::string_view object) {
  if (is_protobuf(object)) {
    return decode_protobuf_object(object);
  }
  std::string& buffer = impl_->buffer;
  buffer.assign(object);
  buffer.reserve(buffer.size() + simdjson::SIMDJSON_PADDING);
  ObjectMeta meta;
  const auto read = [&]() -> error_code {
    ondemand::document document;
    if (const auto error = impl_->parser.iterate(buffer.data(), buffer.size(), buffer.capacity()).get(document)) {
      return error;
    }
    ondemand::object root;
    if (const auto error = document.get_object().get(root)) {
      return error;
    }
    return for_each_field(root, [&](std::string_view key, ondemand::value field) -> error_code {
      return key == "metadata" ? read_meta(field, meta) : simdjson::SUCCESS;
    });
  };
  if (const error_code error = read()) {
    return fail(ErrorCode::kInvalid, std::string("not an object: ") + simdjson::error_message(error));
  }
  if (meta.name.empty()) {
    return fail(ErrorCode::kInvalid, "not an object: it has no name");
  }
  return meta;
}

}  // namespace sharder::kube
