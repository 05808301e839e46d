#include "webhook/assign.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/json_string.h"
#include "ring/object_key.h"
#include "ring/ring_set.h"
#include "webhook/admission_review.h"
#include "webhook/json_text.h"

namespace sharder::webhook {
namespace {

using Reference = ControllerReference::State;

// A name of up to 52 characters is valid for every kind; CronJob has this limit, the smallest. When there is room, we
// use more random characters than the API server. After a collision its retry does not help, because the name is ours.
constexpr std::size_t kNameFitsEveryKind = 52;
constexpr std::size_t kLongSuffix = 10;
// As in the API server: five characters, after at most 58 of the prefix.
constexpr std::size_t kShortSuffix = 5;
constexpr std::size_t kMaxPrefix = 58;
// The API server's alphabet for generated names: no vowels, no characters that look like others.
constexpr std::string_view kNameAlphabet = "bcdfghjklmnpqrstvwxz2456789";

std::string_view namespace_of(const AdmissionReview& review) {
  if (!review.object.object_namespace.empty() || (review.group.empty() && review.resource == "namespaces")) {
    return review.object.object_namespace;
  }
  return review.request_namespace;
}

// The first `size` bytes, without those of a character that would be cut.
std::string_view cut(std::string_view text, std::size_t size) {
  if (text.size() <= size) {
    return text;
  }
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) {
    --size;
  }
  return text.substr(0, size);
}

void append_add(std::string& patch, std::string_view path, std::string_view value) {
  patch += R"({"op":"add","path":)";
  append_json_string(patch, path);
  patch += R"(,"value":)";
  append_json_string(patch, value);
  patch += '}';
}

}  // namespace

Assignment Assigner::decide(const AdmissionReview& review, const ring::RingSet* rings, std::string_view ring_name) {
  if (rings == nullptr) {
    return {.message = "the sharder does not know its rings yet", .warning = {}, .patch = {}};
  }
  const ring::RingEntry* entry = rings->find(ring_name);
  if (entry == nullptr) {
    return {.message = "there is no such ring", .warning = {}, .patch = {}};
  }
  if (!review.problem.empty()) {
    return not_assigned(review.problem);
  }
  if (!review.object.shard_label.empty()) {
    return {.message = "object is already assigned", .warning = {}, .patch = {}};
  }
  return assign(review, *entry);
}

Assignment Assigner::assign(const AdmissionReview& review, const ring::RingEntry& entry) {
  const ReviewedObject& object = review.object;
  std::string_view new_name;
  switch (entry.role(review.group, review.resource)) {
    case ring::Role::kNone:
      return {.message = "resource is not part of the ring", .warning = {}, .patch = {}};
    case ring::Role::kControlled:
      if (object.controller.state == Reference::kNone) {
        return {.message = "object should not be assigned", .warning = {}, .patch = {}};
      }
      if (object.controller.state == Reference::kMalformed) {
        return not_assigned("its controller reference is malformed");
      }
      ring::object_key(key_, ring::group_of(object.controller.api_version), object.controller.kind,
                       namespace_of(review), object.controller.name);
      break;
    case ring::Role::kMain:
      if (object.api_version.empty() || object.kind.empty()) {
        return not_assigned("it has no apiVersion or kind");
      }
      if (object.name.empty() && (object.generate_name.empty() || review.operation != "CREATE")) {
        return not_assigned("it has no name");
      }
      // The name is chosen here, because the key is made of it; the API server keeps it (protocol, 9).
      new_name = object.name.empty() ? make_name(object.generate_name) : std::string_view();
      ring::object_key(key_, ring::group_of(object.api_version), object.kind, namespace_of(review),
                       object.name.empty() ? new_name : object.name);
      break;
  }
  const auto shard = entry.ring().owner(key_);
  if (!shard) {
    return {.message = "there is no available shard", .warning = {}, .patch = {}};
  }
  write_patch(review, entry, *shard, new_name);
  return {.message = "assigning object", .warning = {}, .patch = patch_};
}

Assignment Assigner::not_assigned(std::string_view reason) {
  warning_.assign("sharder: the object gets no shard: ").append(reason);
  return {.message = "object cannot be assigned", .warning = warning_, .patch = {}};
}

std::string_view Assigner::make_name(std::string_view prefix) {
  const bool has_room = prefix.size() + kLongSuffix <= kNameFitsEveryKind;
  name_.assign(cut(prefix, kMaxPrefix));
  const std::size_t size = name_.size() + (has_room ? kLongSuffix : kShortSuffix);
  while (name_.size() < size) {
    // Five bits for each character. Values beyond the alphabet are dropped, so that all characters are equally likely.
    std::uint64_t bits = random_();
    for (int i = 0; i < 12 && name_.size() < size; ++i, bits >>= 5) {
      if (const auto index = bits & 31; index < kNameAlphabet.size()) {
        name_ += kNameAlphabet[index];
      }
    }
  }
  return name_;
}

void Assigner::write_patch(const AdmissionReview& review, const ring::RingEntry& entry, std::string_view shard,
                           std::string_view name) {
  patch_ = '[';
  if (!review.object.has_labels) {
    patch_ += R"({"op":"add","path":"/metadata/labels","value":{}},)";
  }
  key_ = "/metadata/labels/";  // the object's key is not needed any more
  append_pointer_token(key_, entry.shard_label());
  append_add(patch_, key_, shard);
  if (!name.empty()) {
    patch_ += ',';
    append_add(patch_, "/metadata/name", name);
  }
  patch_ += ']';
}

}  // namespace sharder::webhook
