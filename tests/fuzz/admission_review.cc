// The admission decoder against another that is written from its contract (webhook/admission_review.h) on nlohmann's
// parser: same verdict, same fields; and whatever was decoded must be answered.
// Input: one byte that stands in the padding, then the body.
#include "webhook/admission_review.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/message.h"
#include "ring/object_key.h"
#include "ring/ring_set.h"
#include "webhook/assign.h"
#include "webhook/review_response.h"

namespace {

using nlohmann::json;
using sharder::webhook::AdmissionReview;
using State = sharder::webhook::ControllerReference::State;

constexpr std::size_t kMaxBody = 1 << 20;
const std::string kLabel = "shard.alpha.sharding.timebertt.dev/example";

void expect(bool fine, const char* what) {
  if (!fine) {
    std::cerr << "not so: " << what << '\n';
    std::abort();
  }
}

// A JSON value that keeps what nlohmann's own would drop: keys that stand twice.
struct Node {
  json::value_t type = json::value_t::null;
  std::string text = {};
  bool truth = false;
  std::string key = {};  // in its object
  std::vector<Node> children = {};
};

// Builds Nodes down to the depth limit.
class Builder final : public json::json_sax_t {
 public:
  bool null() override { return add({}); }
  bool boolean(bool value) override { return add({.type = json::value_t::boolean, .text = {}, .truth = value}); }
  bool number_integer(number_integer_t) override { return add({.type = json::value_t::number_integer}); }
  bool number_unsigned(number_unsigned_t) override { return add({.type = json::value_t::number_integer}); }
  bool number_float(number_float_t, const string_t&) override { return add({.type = json::value_t::number_integer}); }
  bool string(string_t& value) override { return add({.type = json::value_t::string, .text = value}); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(json::value_t::object); }
  bool start_array(std::size_t) override { return open(json::value_t::array); }
  bool key(string_t& value) override {
    key_ = value;
    if (skipped_from_ == 0 || depth_ < skipped_from_) {
      skipped_from_ = is_skipped() ? depth_ + 1 : 0;
      has_skipped = has_skipped || skipped_from_ != 0;
    }
    return true;
  }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) override {
    out_of_range = dynamic_cast<const json::out_of_range*>(&error) != nullptr;
    return false;
  }

  Node root;
  bool too_deep = false;
  bool has_skipped = false;
  bool out_of_range = false;  // a number that no double holds: nlohmann's limit, not JSON's

 private:
  // Whether what stands behind the key is what the decoder only counts the brackets of.
  bool is_skipped() const {
    const auto inside = [&](std::initializer_list<std::string_view> path) {
      return std::equal(path.begin(), path.end(), open_.begin() + 1, open_.end(),
                        [](std::string_view name, const Node* node) { return name == node->key; });
    };
    return !open_.empty() && ((key_ == "oldObject" && inside({"request"})) ||
                              (key_ == "managedFields" && inside({"request", "object", "metadata"})));
  }
  bool add(Node node) {
    if (depth_ <= sharder::webhook::kMaxDepth) {
      place(std::move(node));
    }
    return true;
  }
  bool open(json::value_t type) {
    if (++depth_ > sharder::webhook::kMaxDepth) {
      too_deep = too_deep || skipped_from_ == 0 || depth_ < skipped_from_;
    } else {
      open_.push_back(&place({.type = type}));
    }
    return true;
  }
  bool close() {
    if (depth_-- <= sharder::webhook::kMaxDepth) {
      open_.pop_back();
    }
    return true;
  }
  Node& place(Node node) {
    if (open_.empty()) {
      root = std::move(node);
      return root;
    }
    auto& siblings = open_.back()->children;
    node.key = std::exchange(key_, {});
    return siblings.emplace_back(std::move(node));
  }

  std::vector<Node*> open_;  // children are only added to the last, so the others do not move
  std::string key_;
  int depth_ = 0;
  int skipped_from_ = 0;  // from this depth on; 0: nothing
};

// What the contract says a key of an object is: nullptr when it is absent or null.
const Node* get(const Node* object, const char* key, json::value_t type, bool& wrong) {
  const Node* found = nullptr;
  int times = 0;
  for (const Node& child : object->children) {
    if (child.key == key) {
      wrong = wrong || (child.type != json::value_t::null && child.type != type) || ++times > 1;
      found = found == nullptr && child.type == type ? &child : found;
    }
  }
  return found;
}
std::string text_of(const Node* object, const char* key, bool& wrong) {
  const Node* node = get(object, key, json::value_t::string, wrong);
  return node == nullptr ? std::string() : node->text;
}

void check_controller(const Node* metadata, const AdmissionReview& review, bool& wrong) {
  const auto& controller = review.object.controller;
  State state = State::kNone;
  int times = 0;
  for (const Node& owners : metadata->children) {
    if (owners.key != "ownerReferences") {
      continue;
    }
    wrong = wrong || ++times > 1;
    if (owners.type != json::value_t::array) {
      state = owners.type == json::value_t::null ? State::kNone : State::kMalformed;
      continue;
    }
    for (const Node& owner : owners.children) {
      bool field = owner.type != json::value_t::object;
      bool flag = field;
      const Node* is_controller = get(&owner, "controller", json::value_t::boolean, flag);
      if (!flag && (is_controller == nullptr || !is_controller->truth)) {
        continue;
      }
      const auto api_version = text_of(&owner, "apiVersion", field);
      const auto kind = text_of(&owner, "kind", field);
      const auto own_name = text_of(&owner, "name", field);
      state = !field && !flag && sharder::ring::is_complete_reference(api_version, kind, own_name) ? State::kComplete
                                                                                                   : State::kMalformed;
      expect(wrong || state != State::kComplete ||
                 (controller.api_version == api_version && controller.kind == kind && controller.name == own_name),
             "same controller reference");
      break;
    }
  }
  expect(wrong || state == controller.state, "same state of the controller reference");
}

// Whether the review has a problem; without one its fields are compared.
bool check_request(const Node* request, const AdmissionReview& review, bool too_deep) {
  bool wrong = too_deep;
  const Node* resource = get(request, "resource", json::value_t::object, wrong);
  const Node* object = get(request, "object", json::value_t::object, wrong);
  if (object == nullptr) {
    return true;
  }
  const Node* metadata = get(object, "metadata", json::value_t::object, wrong);
  const Node none;
  resource = resource == nullptr ? &none : resource;
  metadata = metadata == nullptr ? &none : metadata;
  const Node* labels = get(metadata, "labels", json::value_t::object, wrong);
  const Node* dry_run = get(request, "dryRun", json::value_t::boolean, wrong);
  const std::vector<std::pair<std::string, std::string_view>> fields = {
      {text_of(request, "operation", wrong), review.operation},
      {text_of(request, "namespace", wrong), review.request_namespace},
      {text_of(resource, "group", wrong), review.group},
      {text_of(resource, "version", wrong), review.version},
      {text_of(resource, "resource", wrong), review.resource},
      {text_of(object, "apiVersion", wrong), review.object.api_version},
      {text_of(object, "kind", wrong), review.object.kind},
      {text_of(metadata, "name", wrong), review.object.name},
      {text_of(metadata, "generateName", wrong), review.object.generate_name},
      {text_of(metadata, "namespace", wrong), review.object.object_namespace},
      {labels == nullptr ? "" : text_of(labels, kLabel.c_str(), wrong), review.object.shard_label},
  };
  check_controller(metadata, review, wrong);
  if (!wrong) {
    for (const auto& [theirs, ours] : fields) {
      expect(theirs == ours, "same text");
    }
    expect(review.dry_run == (dry_run != nullptr && dry_run->truth), "same dryRun");
    expect(review.object.has_labels == (labels != nullptr), "same labels");
  }
  return wrong;
}

void check_against_nlohmann(std::string_view text, const std::optional<AdmissionReview>& review) {
  Builder builder;
  // nlohmann skips a byte order mark and takes NUL for the end.
  const bool parsed =
      json::sax_parse(text, &builder) && !text.starts_with("\xef\xbb\xbf") && text.find('\0') == std::string_view::npos;
  if (builder.out_of_range || (!parsed && (builder.too_deep || builder.has_skipped))) {
    return;  // there we only count brackets
  }
  const Node* root = &builder.root;
  bool wrong = !parsed || root->type != json::value_t::object;
  const Node* request = nullptr;
  bool is_review = false;
  if (!wrong) {
    request = get(root, "request", json::value_t::object, wrong);
    is_review = text_of(root, "apiVersion", wrong) == "admission.k8s.io/v1" &&
                text_of(root, "kind", wrong) == "AdmissionReview" && request != nullptr &&
                !text_of(request, "uid", wrong).empty() && !wrong;
  }
  expect(is_review == review.has_value(), "same verdict");
  if (!is_review) {
    return;
  }
  expect(json::parse('"' + std::string(review->uid) + '"') == text_of(request, "uid", wrong), "same uid");
  expect(check_request(request, *review, builder.too_deep) == !review->problem.empty(), "same problem");
}

// Whatever was decoded gets an allowed answer, whose patch applies to the object.
void check_answer(std::string_view text, const AdmissionReview& review) {
  static const sharder::ring::RingSet rings = [] {
    sharder::ring::RingSet set;
    set.rings.emplace("example",
                      std::make_shared<const sharder::ring::RingEntry>(
                          sharder::ring::ControllerRing{
                              .name = "example",
                              .uid = {},
                              .generation = 1,
                              .resources = {{.main = {"apps", "deployments"}, .controlled = {{"apps", "replicasets"}}},
                                            {.main = {"", "secrets"}, .controlled = {}}},
                              .namespace_selector = {}},
                          std::make_shared<const sharder::ring::Ring>(std::vector<std::string>{"a", "b"})));
    return set;
  }();
  static sharder::webhook::Assigner assigner{std::mt19937_64(1)};
  static std::string out;
  const auto assignment = assigner.decide(review, &rings, "example");
  sharder::webhook::write_review_response(out, review.uid, assignment);
  const json response = json::parse(out).at("response");
  expect(response.at("allowed") == true, "always allowed");
  expect(response.contains("patch") == !assignment.patch.empty(), "a patch where one was decided");
  if (!assignment.patch.empty()) {
    const json sent = json::parse(text, nullptr, false);
    if (!sent.is_discarded()) {
      static_cast<void>(sent.at("request").at("object").patch(json::parse(assignment.patch)));  // throws if it does not
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) {
    return 0;
  }
  // Exactly as long as promised, so that the sanitizer sees a read beyond it.
  static sharder::webhook::ReviewDecoder decoder(kMaxBody);
  std::vector<char> bytes(size - 1 + sharder::http::kBodyPadding, static_cast<char>(data[0]));
  std::copy(data + 1, data + size, bytes.begin());
  const std::string_view text(bytes.data(), size - 1);
  const auto review = decoder.decode(text, kLabel);
  check_against_nlohmann(text, review ? std::optional(*review) : std::nullopt);
  if (review) {
    check_answer(text, *review);
  }
  return 0;
}
