#include "webhook/admission_review.h"

#include <simdjson.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "http/message.h"
#include "ring/object_key.h"
#include "webhook/json_text.h"

namespace sharder::webhook {
namespace {

namespace ondemand = simdjson::ondemand;
using ondemand::json_type;
using simdjson::error_code;
using simdjson::SUCCESS;

static_assert(http::kBodyPadding >= simdjson::SIMDJSON_PADDING);

// A parser keeps six times the largest body it has seen: past this the memory goes back before the next review.
constexpr std::size_t kKeptCapacity = std::size_t{256} * 1024;

// The value's text from its first byte to its last.
std::string_view token_of(ondemand::value& value) {
  std::string_view token = value.raw_json_token();  // with the whitespace behind it
  token.remove_suffix(token.size() - 1 - token.find_last_not_of(" \t\r\n"));
  return token;
}

// Reads one body. Each function that takes a value goes over the whole of it. An error_code other than SUCCESS means
// that the body is not JSON; what is JSON but not what we need is noted and passed over.
class Reader {
 public:
  Reader(AdmissionReview& review, std::string& problem, std::string_view shard_label)
      : review_(review), problem_(problem), shard_label_(shard_label) {}

  error_code read(ondemand::document& document) {
    json_type type{};
    if (const auto error = document.type().get(type)) {
      return error;
    }
    is_object_ = type == json_type::object;
    if (!is_object_) {
      return SUCCESS;  // whether it is valid JSON makes no difference
    }
    // As the root's object, not its value: this makes simdjson check that the last token closes it. From there on the
    // walk cannot get past the end: it stops at whatever stands in the padding, or at the check below.
    ondemand::object root;
    if (const auto error = document.get_object().get(root)) {
      return error;
    }
    if (const auto error = read_root(root)) {
      return error;
    }
    // Behind the last token there is no location. (Past it there is: a truncated body whose padding closes it.)
    return document.current_location().error() == simdjson::OUT_OF_BOUNDS ? SUCCESS : simdjson::TRAILING_CONTENT;
  }

  // Why this is no AdmissionReview, "" when it is one.
  std::string_view not_a_review() const {
    if (!is_object_) {
      return "it is no JSON object";
    }
    if (kind_ != "AdmissionReview") {
      return "its kind is not AdmissionReview";
    }
    if (api_version_ != "admission.k8s.io/v1") {
      return "its apiVersion is not admission.k8s.io/v1";
    }
    if (!has_request_) {
      return "it has no request";
    }
    if (review_.uid.empty()) {
      return "its request has no uid";
    }
    return envelope_.empty() ? std::string_view()
                             : "apiVersion, kind, request or uid is given twice or of a wrong type";
  }

  bool has_object() const { return has_object_; }

 private:
  // Which keys of one object have been seen.
  using Seen = std::uint32_t;

  error_code read_root(ondemand::object& root) {
    Seen seen = 0;
    return each_field(root, [&](std::string_view key, ondemand::value& value) {
      if (key == "apiVersion") {
        return read_string(value, 2, seen, 1, key, envelope_, api_version_);
      }
      if (key == "kind") {
        return read_string(value, 2, seen, 2, key, envelope_, kind_);
      }
      if (key == "request") {
        return read_object(value, 2, seen, 4, key, envelope_, has_request_,
                           [&](ondemand::value& request) { return read_request(request); });
      }
      return pass(value, 2);
    });
  }

  error_code read_request(ondemand::value& request) {
    Seen seen = 0;
    return each_field(request, [&](std::string_view key, ondemand::value& value) {
      if (key == "uid") {
        return read_uid(value, seen);
      }
      if (key == "operation") {
        return read_string(value, 3, seen, 2, "request.operation", problem_, review_.operation);
      }
      if (key == "namespace") {
        return read_string(value, 3, seen, 4, "request.namespace", problem_, review_.request_namespace);
      }
      if (key == "oldObject") {
        return skip(value);
      }
      if (key == "dryRun") {
        return read_bool(value, 3, seen, 8, "request.dryRun", problem_, review_.dry_run);
      }
      bool present = false;
      if (key == "resource") {
        return read_object(value, 3, seen, 16, "request.resource", problem_, present,
                           [&](ondemand::value& resource) { return read_resource(resource); });
      }
      if (key == "object") {
        return read_object(value, 3, seen, 32, "request.object", problem_, has_object_,
                           [&](ondemand::value& object) { return read_reviewed_object(object); });
      }
      return pass(value, 3);
    });
  }

  error_code read_uid(ondemand::value& value, Seen& seen) {
    const std::string_view token = token_of(value);
    std::string_view uid;
    if (const auto error = read_string(value, 3, seen, 1, "request.uid", envelope_, uid)) {
      return error;
    }
    if (!uid.empty()) {
      review_.uid = token.substr(1, token.size() - 2);
    }
    return SUCCESS;
  }

  error_code read_resource(ondemand::value& resource) {
    Seen seen = 0;
    return each_field(resource, [&](std::string_view key, ondemand::value& value) {
      if (key == "group") {
        return read_string(value, 4, seen, 1, "request.resource.group", problem_, review_.group);
      }
      if (key == "version") {
        return read_string(value, 4, seen, 2, "request.resource.version", problem_, review_.version);
      }
      if (key == "resource") {
        return read_string(value, 4, seen, 4, "request.resource.resource", problem_, review_.resource);
      }
      return pass(value, 4);
    });
  }

  error_code read_reviewed_object(ondemand::value& object) {
    Seen seen = 0;
    return each_field(object, [&](std::string_view key, ondemand::value& value) {
      if (key == "apiVersion") {
        return read_string(value, 4, seen, 1, "request.object.apiVersion", problem_, review_.object.api_version);
      }
      if (key == "kind") {
        return read_string(value, 4, seen, 2, "request.object.kind", problem_, review_.object.kind);
      }
      bool present = false;
      if (key == "metadata") {
        return read_object(value, 4, seen, 4, "request.object.metadata", problem_, present,
                           [&](ondemand::value& metadata) { return read_metadata(metadata); });
      }
      return pass(value, 4);
    });
  }

  error_code read_metadata(ondemand::value& metadata) {
    Seen seen = 0;
    return each_field(metadata, [&](std::string_view key, ondemand::value& value) {
      if (key == "name") {
        return read_string(value, 5, seen, 1, "request.object.metadata.name", problem_, review_.object.name);
      }
      if (key == "generateName") {
        return read_string(value, 5, seen, 2, "request.object.metadata.generateName", problem_,
                           review_.object.generate_name);
      }
      if (key == "namespace") {
        return read_string(value, 5, seen, 4, "request.object.metadata.namespace", problem_,
                           review_.object.object_namespace);
      }
      if (key == "labels") {
        return read_object(value, 5, seen, 8, "request.object.metadata.labels", problem_, review_.object.has_labels,
                           [&](ondemand::value& labels) { return read_labels(labels); });
      }
      if (key == "ownerReferences") {
        return read_owners(value, seen, 16);
      }
      if (key == "managedFields") {
        return skip(value);
      }
      return pass(value, 5);
    });
  }

  error_code read_labels(ondemand::value& labels) {
    Seen seen = 0;
    return each_field(labels, [&](std::string_view key, ondemand::value& value) {
      return key == shard_label_
                 ? read_string(value, 6, seen, 1, "the object's shard label", problem_, review_.object.shard_label)
                 : pass(value, 6);
    });
  }

  error_code read_owners(ondemand::value& value, Seen& seen, Seen bit) {
    if (!first_time(seen, bit, "request.object.metadata.ownerReferences", problem_)) {
      return pass(value, 5);
    }
    json_type type{};
    if (const auto error = value.type().get(type)) {
      return error;
    }
    auto& controller = review_.object.controller;
    if (type != json_type::array) {
      controller.state = type == json_type::null ? ControllerReference::State::kNone  //
                                                 : ControllerReference::State::kMalformed;
      return pass(value, 5);
    }
    bool decided = false;
    ondemand::array owners;
    if (const auto error = value.get_array().get(owners)) {
      return error;
    }
    for (auto item : owners) {
      ondemand::value owner;
      if (const auto error = item.get(owner)) {
        return error;
      }
      if (const auto error = decided ? pass(owner, 6) : read_owner(owner, controller, decided)) {
        return error;
      }
    }
    return SUCCESS;
  }

  // `decided`: this one is the controller, or it is malformed.
  error_code read_owner(ondemand::value& owner, ControllerReference& controller, bool& decided) {
    ControllerReference found;
    std::string field;  // what of it has a wrong type or is there twice
    std::string flag;   // the same for `controller`
    bool is_object = false;
    bool is_controller = false;
    Seen seen = 0;
    Seen once = 0;
    const auto read_field = [&](std::string_view key, ondemand::value& value) {
      if (key == "apiVersion") {
        return read_string(value, 7, seen, 1, key, field, found.api_version);
      }
      if (key == "kind") {
        return read_string(value, 7, seen, 2, key, field, found.kind);
      }
      if (key == "name") {
        return read_string(value, 7, seen, 4, key, field, found.name);
      }
      if (key == "controller") {
        return read_bool(value, 7, seen, 8, key, flag, is_controller);
      }
      return pass(value, 7);
    };
    if (const auto error = read_object(owner, 6, once, 1, "reference", field, is_object,
                                       [&](ondemand::value& object) { return each_field(object, read_field); })) {
      return error;
    }
    if (is_object && flag.empty() && !is_controller) {
      return SUCCESS;  // an owner like others
    }
    decided = true;
    if (!field.empty() || !flag.empty() || !ring::is_complete_reference(found.api_version, found.kind, found.name)) {
      controller.state = ControllerReference::State::kMalformed;
      return SUCCESS;
    }
    controller = found;
    controller.state = ControllerReference::State::kComplete;
    return SUCCESS;
  }

  // The value's string; null leaves `out` as it is. Another type or a second occurrence is noted in `problem`.
  error_code read_string(ondemand::value& value, int level, Seen& seen, Seen bit, std::string_view name,
                         std::string& problem, std::string_view& out) {
    json_type type{};
    if (const auto error = value.type().get(type)) {
      return error;
    }
    if (!first_time(seen, bit, name, problem) || type != json_type::string) {
      note_unless(type == json_type::null || type == json_type::string, problem, name, " is not a string");
      return pass(value, level);
    }
    if (check_escapes(value.raw_json_token().data() + 1) == Escapes::kInvalid) {
      return simdjson::STRING_ERROR;
    }
    return value.get_string().get(out);
  }

  error_code read_bool(ondemand::value& value, int level, Seen& seen, Seen bit, std::string_view name,
                       std::string& problem, bool& out) {
    json_type type{};
    if (const auto error = value.type().get(type)) {
      return error;
    }
    if (!first_time(seen, bit, name, problem) || type != json_type::boolean) {
      note_unless(type == json_type::null || type == json_type::boolean, problem, name, " is not a boolean");
      return pass(value, level);
    }
    return value.get_bool().get(out);
  }

  // Hands an object to `read`; null leaves `present` false.
  template <class F>
  error_code read_object(ondemand::value& value, int level, Seen& seen, Seen bit, std::string_view name,
                         std::string& problem, bool& present, F read) {
    json_type type{};
    if (const auto error = value.type().get(type)) {
      return error;
    }
    if (!first_time(seen, bit, name, problem) || type != json_type::object) {
      note_unless(type == json_type::null || type == json_type::object, problem, name, " is not an object");
      return pass(value, level);
    }
    present = true;
    return read(value);
  }

  // Calls `f(key, value)` with each field. The object must be at most at level kMaxDepth.
  template <class F>
  error_code each_field(ondemand::value& value, F f) {
    ondemand::object object;
    if (const auto error = value.get_object().get(object)) {
      return error;
    }
    return each_field(object, f);
  }

  template <class F>
  error_code each_field(ondemand::object& object, F f) {
    for (auto field : object) {
      std::string_view key;
      ondemand::value child;
      if (const auto error = field.key().error()) {
        return error;
      }
      if (check_escapes(field.key().value_unsafe().raw()) == Escapes::kInvalid) {
        return simdjson::STRING_ERROR;
      }
      if (const auto error = field.unescaped_key().get(key)) {
        return error;
      }
      if (const auto error = field.value().get(child)) {
        return error;
      }
      if (const auto error = f(key, child)) {
        return error;
      }
    }
    return SUCCESS;
  }

  // Leaves a value to simdjson, which counts its brackets: five times as fast as pass(), for what is often half of a
  // review and nothing to us.
  static error_code skip(ondemand::value& value) { return value.type().error(); }

  // Goes over a value that is not used, so that it is known to be JSON. `level`: the depth of the value if it is an
  // object or an array. Recursion ends at kMaxDepth: what is deeper is left to simdjson, which counts brackets.
  error_code pass(ondemand::value& value, int level) {
    json_type type{};
    if (const auto error = value.type().get(type)) {
      return error;
    }
    switch (type) {
      case json_type::object:
      case json_type::array:
        if (level > kMaxDepth) {
          note_unless(!problem_.empty(), problem_, "the review", " is nested deeper than 128 levels");
          return SUCCESS;
        }
        return type == json_type::object ? pass_object(value, level) : pass_array(value, level);
      case json_type::string:
        return pass_string(value);
      case json_type::number:
        return is_number(token_of(value)) ? SUCCESS : simdjson::NUMBER_ERROR;
      case json_type::boolean:
        return token_of(value) == "true" || token_of(value) == "false" ? SUCCESS : simdjson::T_ATOM_ERROR;
      case json_type::null:
        return token_of(value) == "null" ? SUCCESS : simdjson::N_ATOM_ERROR;
    }
    return simdjson::TAPE_ERROR;
  }

  // Takes the string: simdjson would take one that was left, with a colon behind it, for a key.
  static error_code pass_string(ondemand::value& value) {
    ondemand::raw_json_string text;
    if (const auto error = value.get_raw_json_string().get(text)) {
      return error;
    }
    return check_escapes(text.raw()) == Escapes::kInvalid ? simdjson::STRING_ERROR : SUCCESS;
  }

  error_code pass_object(ondemand::value& value, int level) {
    ondemand::object object;
    if (const auto error = value.get_object().get(object)) {
      return error;
    }
    for (auto field : object) {
      ondemand::value child;
      if (const auto error = field.value().get(child)) {
        return error;
      }
      if (check_escapes(field.key().value_unsafe().raw()) == Escapes::kInvalid) {
        return simdjson::STRING_ERROR;
      }
      if (const auto error = pass(child, level + 1)) {
        return error;
      }
    }
    return SUCCESS;
  }

  error_code pass_array(ondemand::value& value, int level) {
    ondemand::array array;
    if (const auto error = value.get_array().get(array)) {
      return error;
    }
    for (auto item : array) {
      ondemand::value child;
      if (const auto error = item.get(child)) {
        return error;
      }
      if (const auto error = pass(child, level + 1)) {
        return error;
      }
    }
    return SUCCESS;
  }

  static bool first_time(Seen& seen, Seen bit, std::string_view name, std::string& problem) {
    note_unless((seen & bit) == 0, problem, name, " is given twice");
    return (std::exchange(seen, seen | bit) & bit) == 0;
  }

  static void note_unless(bool fine, std::string& problem, std::string_view name, std::string_view what) {
    if (!fine && problem.empty()) {
      problem.assign(name).append(what);
    }
  }

  AdmissionReview& review_;
  std::string& problem_;  // the first thing that stands in the way of a decision
  std::string_view shard_label_;
  std::string envelope_;  // the first thing that stands in the way of an answer
  std::string_view api_version_;
  std::string_view kind_;
  bool is_object_ = false;
  bool has_request_ = false;
  bool has_object_ = false;
};

}  // namespace

struct ReviewDecoder::Impl {
  explicit Impl(std::size_t max_bytes) : max_body_bytes(max_bytes), parser(max_bytes) {}

  std::size_t max_body_bytes;
  ondemand::parser parser;
  std::string problem;
};

ReviewDecoder::ReviewDecoder(std::size_t max_body_bytes) : impl_(std::make_unique<Impl>(max_body_bytes)) {}
ReviewDecoder::~ReviewDecoder() = default;
ReviewDecoder::ReviewDecoder(ReviewDecoder&&) noexcept = default;

Result<AdmissionReview> ReviewDecoder::decode(std::string_view body, std::string_view shard_label) {
  if (body.size() > impl_->max_body_bytes) {
    return fail(ErrorCode::kInvalid, "the body is too large");
  }
  if (impl_->parser.capacity() > kKeptCapacity && body.size() <= kKeptCapacity) {
    impl_->parser = ondemand::parser(impl_->max_body_bytes);
  }
  impl_->problem.clear();
  AdmissionReview review;
  Reader reader(review, impl_->problem, shard_label);
  ondemand::document document;
  // Newer versions of simdjson skip a byte order mark; to Go's decoder it is no JSON.
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  auto error = simdjson::UTF8_ERROR;
  if (!body.starts_with(kByteOrderMark)) {
    error = impl_->parser.iterate(body.data(), body.size(), body.size() + http::kBodyPadding).get(document);
  }
  if (!error) {
    error = reader.read(document);
  }
  if (error) {
    return fail(ErrorCode::kInvalid, "it is not valid JSON");
  }
  if (const auto reason = reader.not_a_review(); !reason.empty()) {
    return fail(ErrorCode::kInvalid, std::string(reason));
  }
  if (!reader.has_object() && impl_->problem.empty()) {
    impl_->problem = "request.object is missing";
  }
  review.problem = impl_->problem;
  return review;
}

}  // namespace sharder::webhook
