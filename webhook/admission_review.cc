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

// A parser keeps memory for six times the largest body so far. Past this size it is given back before the next review.
constexpr std::size_t kKeptCapacity = std::size_t{256} * 1024;

// The value's text from its first byte to its last.
std::string_view token_of(ondemand::value& value) {
  std::string_view token = value.raw_json_token();  // with the whitespace behind it
  token.remove_suffix(token.size() - 1 - token.find_last_not_of(" \t\r\n"));
  return token;
}

// Reads one body. Each function that takes a value reads the whole value. An error_code other than SUCCESS means that
// the body is not JSON. JSON that is not what we need is noted as a problem and skipped.
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
    // As the root's object, not its value: then simdjson checks that the last token closes it. So the walk cannot get
    // past the end: it stops at the bytes in the padding, or at the check below.
    ondemand::object root;
    if (const auto error = document.get_object().get(root)) {
      return error;
    }
    if (const auto error = read_root(root)) {
      return error;
    }
    // After the last token there is no location. (There is one past it in a truncated body whose padding closes it.)
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
  // An object that is being read.
  struct Cursor {
    std::string_view path;   // to it: "request.object.metadata"; "" for the root and for what messages do not name
    int level;               // of the values in it
    std::string* problem;    // where the first problem is noted
    std::uint32_t seen = 0;  // the fields of its list that came, a bit each
  };

  // One of the object's fields that are read: its key and its value.
  struct Field {
    Cursor& object;
    std::uint32_t bit;  // of `seen`
    std::string_view key;
    ondemand::value& value;
    std::string* problem = object.problem;
    std::string_view name = {};  // in messages, in place of path and key

    // False when the field came before; this is noted as a problem.
    bool is_first() const {
      const bool first = (std::exchange(object.seen, object.seen | bit) & bit) == 0;
      if (!first) {
        note(" is given twice");
      }
      return first;
    }
    void note(std::string_view what) const {
      if (problem->empty()) {
        const std::string_view point = object.path.empty() ? "" : ".";
        const std::string full = std::string(object.path).append(point).append(key);
        problem->append(name.empty() ? full : name).append(what);
      }
    }
  };

  // A field to read of an object: its key, and the function that reads it.
  template <class F>
  struct Wanted {
    std::string_view key;
    F read;
  };

  auto text(std::string_view key, std::string_view& out) {
    return Wanted{key, [this, &out](Field field) { return read_string(field, out); }};
  }
  auto flag(std::string_view key, bool& out) {
    return Wanted{key, [this, &out](Field field) { return read_bool(field, out); }};
  }
  // `read` gets the object's value.
  template <class F>
  auto object(std::string_view key, bool& present, F read) {
    return Wanted{key, [this, &present, read](Field field) { return read_object(field, present, read); }};
  }
  static auto unchecked(std::string_view key) {
    return Wanted{key, [](Field field) { return skip(field.value); }};
  }

  error_code read_root(ondemand::object& root) {
    return read_fields(
        root, {.path = "", .level = 2, .problem = &envelope_}, text("apiVersion", api_version_),  //
        text("kind", kind_),                                                                      //
        object("request", has_request_, [this](ondemand::value& request) { return read_request(request); }));
  }

  error_code read_request(ondemand::value& request) {
    bool has_resource = false;
    return read_fields(
        request, {.path = "request", .level = 3, .problem = &problem_},
        Wanted{"uid", [this](Field field) { return read_uid(field); }},  //
        text("operation", review_.operation),                            //
        text("namespace", review_.request_namespace),                    //
        unchecked("oldObject"),                                          //
        flag("dryRun", review_.dry_run),                                 //
        object("resource", has_resource, [this](ondemand::value& resource) { return read_resource(resource); }),
        object("object", has_object_, [this](ondemand::value& reviewed) { return read_reviewed_object(reviewed); }));
  }

  error_code read_uid(Field field) {
    const std::string_view token = token_of(field.value);
    std::string_view uid;
    field.problem = &envelope_;
    if (const auto error = read_string(field, uid)) {
      return error;
    }
    if (!uid.empty()) {
      review_.uid = token.substr(1, token.size() - 2);
    }
    return SUCCESS;
  }

  error_code read_resource(ondemand::value& resource) {
    return read_fields(resource, {.path = "request.resource", .level = 4, .problem = &problem_},
                       text("group", review_.group),      //
                       text("version", review_.version),  //
                       text("resource", review_.resource));
  }

  error_code read_reviewed_object(ondemand::value& reviewed) {
    bool has_metadata = false;
    return read_fields(
        reviewed, {.path = "request.object", .level = 4, .problem = &problem_},
        text("apiVersion", review_.object.api_version),  //
        text("kind", review_.object.kind),               //
        object("metadata", has_metadata, [this](ondemand::value& metadata) { return read_metadata(metadata); }));
  }

  error_code read_metadata(ondemand::value& metadata) {
    ReviewedObject& reviewed = review_.object;
    return read_fields(
        metadata, {.path = "request.object.metadata", .level = 5, .problem = &problem_},
        text("name", reviewed.name),                   //
        text("generateName", reviewed.generate_name),  //
        text("namespace", reviewed.object_namespace),  //
        object("labels", reviewed.has_labels, [this](ondemand::value& labels) { return read_labels(labels); }),
        Wanted{"ownerReferences", [this](Field field) { return read_owners(field); }}, unchecked("managedFields"));
  }

  error_code read_labels(ondemand::value& labels) {
    const auto read_shard_label = [this](Field field) {
      field.name = "the object's shard label";
      return read_string(field, review_.object.shard_label);
    };
    return read_fields(labels, {.path = "", .level = 6, .problem = &problem_}, Wanted{shard_label_, read_shard_label});
  }

  error_code read_owners(Field field) {
    json_type type{};
    if (const auto error = field.value.type().get(type)) {
      return error;
    }
    if (!field.is_first()) {
      return pass(field.value, field.object.level);
    }
    auto& controller = review_.object.controller;
    if (type != json_type::array) {
      controller.state = type == json_type::null ? ControllerReference::State::kNone  //
                                                 : ControllerReference::State::kMalformed;
      return pass(field.value, field.object.level);
    }
    bool decided = false;
    ondemand::array owners;
    if (const auto error = field.value.get_array().get(owners)) {
      return error;
    }
    const int level = field.object.level + 1;
    for (auto item : owners) {
      ondemand::value owner;
      if (const auto error = item.get(owner)) {
        return error;
      }
      if (const auto error = decided ? pass(owner, level) : read_owner(owner, level, controller, decided)) {
        return error;
      }
    }
    return SUCCESS;
  }

  // `decided`: this one is the controller, or it is malformed.
  error_code read_owner(ondemand::value& owner, int level, ControllerReference& controller, bool& decided) {
    json_type type{};
    if (const auto error = owner.type().get(type)) {
      return error;
    }
    if (type != json_type::object) {
      decided = true;
      controller.state = ControllerReference::State::kMalformed;
      return pass(owner, level);
    }
    ControllerReference found;
    std::string problem;       // of the reference
    std::string flag_problem;  // of `controller`
    bool is_controller = false;
    const auto read_flag = [&](Field field) {
      field.problem = &flag_problem;
      return read_bool(field, is_controller);
    };
    if (const auto error = read_fields(owner, {.path = "", .level = level + 1, .problem = &problem},
                                       text("apiVersion", found.api_version),  //
                                       text("kind", found.kind),               //
                                       text("name", found.name),               //
                                       Wanted{"controller", read_flag})) {
      return error;
    }
    if (flag_problem.empty() && !is_controller) {
      return SUCCESS;  // an owner that is not the controller
    }
    decided = true;
    if (!problem.empty() || !flag_problem.empty() ||
        !ring::is_complete_reference(found.api_version, found.kind, found.name)) {
      controller.state = ControllerReference::State::kMalformed;
      return SUCCESS;
    }
    controller = found;
    controller.state = ControllerReference::State::kComplete;
    return SUCCESS;
  }

  // The field's string; null leaves `out` as it is. Another type or a second occurrence is noted.
  error_code read_string(const Field& field, std::string_view& out) {
    json_type type{};
    if (const auto error = field.value.type().get(type)) {
      return error;
    }
    if (!field.is_first() || type != json_type::string) {
      return pass_wrong(field, type, json_type::string, " is not a string");
    }
    if (check_escapes(field.value.raw_json_token().data() + 1) == Escapes::kInvalid) {
      return simdjson::STRING_ERROR;
    }
    return field.value.get_string().get(out);
  }

  error_code read_bool(const Field& field, bool& out) {
    json_type type{};
    if (const auto error = field.value.type().get(type)) {
      return error;
    }
    if (!field.is_first() || type != json_type::boolean) {
      return pass_wrong(field, type, json_type::boolean, " is not a boolean");
    }
    return field.value.get_bool().get(out);
  }

  // Hands an object to `read`; null leaves `present` false.
  template <class F>
  error_code read_object(const Field& field, bool& present, F read) {
    json_type type{};
    if (const auto error = field.value.type().get(type)) {
      return error;
    }
    if (!field.is_first() || type != json_type::object) {
      return pass_wrong(field, type, json_type::object, " is not an object");
    }
    present = true;
    return read(field.value);
  }

  // Skips a field that is null, of another type, or there again. Another type is noted as a problem.
  error_code pass_wrong(const Field& field, json_type type, json_type wanted, std::string_view what) {
    if (type != json_type::null && type != wanted) {
      field.note(what);
    }
    return pass(field.value, field.object.level);
  }

  // Reads the wanted fields of an object, and skips the others.
  template <class... F>
  error_code read_fields(ondemand::value& value, Cursor cursor, const Wanted<F>&... wanted) {
    ondemand::object object;
    if (const auto error = value.get_object().get(object)) {
      return error;
    }
    return read_fields(object, cursor, wanted...);
  }

  template <class... F>
  error_code read_fields(ondemand::object& object, Cursor cursor, const Wanted<F>&... wanted) {
    for (auto next : object) {
      std::string_view key;
      ondemand::value value;
      if (const auto error = next.key().error()) {
        return error;
      }
      if (check_escapes(next.key().value_unsafe().raw()) == Escapes::kInvalid) {
        return simdjson::STRING_ERROR;
      }
      if (const auto error = next.unescaped_key().get(key)) {
        return error;
      }
      if (const auto error = next.value().get(value)) {
        return error;
      }
      std::uint32_t bit = 1;
      error_code error = SUCCESS;
      const auto take = [&](const auto& one) {
        if (key != one.key) {
          bit <<= 1U;
          return false;
        }
        error = one.read(Field{.object = cursor, .bit = bit, .key = one.key, .value = value});
        return true;
      };
      if (!(take(wanted) || ...)) {
        error = pass(value, cursor.level);
      }
      if (error) {
        return error;
      }
    }
    return SUCCESS;
  }

  // Leaves a value to simdjson, which only counts its brackets. This is five times as fast as pass(); these values are
  // often half of a review, and we do not use them.
  static error_code skip(ondemand::value& value) { return value.type().error(); }

  // Checks that a value that is not used is JSON. `level`: the depth of the value if it is an object or an array.
  // Recursion ends at kMaxDepth: deeper values are left to simdjson, which counts brackets.
  error_code pass(ondemand::value& value, int level) {
    json_type type{};
    if (const auto error = value.type().get(type)) {
      return error;
    }
    switch (type) {
      case json_type::object:
      case json_type::array:
        if (level > kMaxDepth) {
          if (problem_.empty()) {
            problem_ = "the review is nested deeper than 128 levels";
          }
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

  // Reads the string: simdjson would take an unread string with a colon behind it for a key.
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

  AdmissionReview& review_;
  std::string& problem_;  // the first problem that prevents a decision
  std::string_view shard_label_;
  std::string envelope_;  // the first problem that prevents an answer
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
