#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "base/error.h"

namespace sharder::webhook {

// Containers nested deeper than this are not looked into; the review's root object is level 1.
inline constexpr int kMaxDepth = 128;

// The ownerReference with controller=true, as metav1.GetControllerOf finds it: the first one.
struct ControllerReference {
  enum class State {
    kNone,
    kComplete,
    kMalformed,  // the ownerReferences or the reference have a wrong type, or it lacks apiVersion, kind or name
  };
  State state = State::kNone;
  std::string_view api_version;  // these three only when complete
  std::string_view kind;
  std::string_view name;
};

// What the webhook needs of request.object. "" is also what is absent or null.
struct ReviewedObject {
  std::string_view api_version;
  std::string_view kind;
  std::string_view name;
  std::string_view generate_name;
  std::string_view object_namespace;
  bool has_labels = false;       // metadata.labels is there, if only as {}
  std::string_view shard_label;  // value of the label that decode() was asked for
  ControllerReference controller;
};

// An admission.k8s.io/v1 AdmissionReview request. The views live until the next decode() or the end of the body.
struct AdmissionReview {
  std::string_view uid;  // as it stands in the body, escapes included: echo it byte by byte, between quotes
  std::string_view operation;
  std::string_view request_namespace;
  std::string_view group;  // of request.resource, the matched one; requestResource is another thing
  std::string_view version;
  std::string_view resource;
  bool dry_run = false;
  ReviewedObject object;
  // Why the object cannot be decided on ("request.object.metadata.name is not a string"); "" when it can. The fields
  // above other than uid are then not to be used.
  std::string_view problem;
};

// Decodes AdmissionReviews with one parser, whose memory it reuses. Owned by one loop.
//
// What is checked, in this order:
// - The body is a JSON object as RFC 8259 has it, all of it, also where nothing is used: structure, literals, numbers
//   (of any size), escapes with paired surrogates, UTF-8; no BOM, nothing behind it. Only the
//   brackets are counted, and UTF-8 and strings checked: in oldObject and managedFields, and below kMaxDepth.
// - It has kind AdmissionReview, apiVersion admission.k8s.io/v1, an object `request` and in it a
//   non-empty string `uid`, each of them once. Otherwise it is no AdmissionReview: kInvalid, with the reason.
// - All that AdmissionReview holds has its type, or is null or absent, and no key that is read stands twice in its
//   object; there is an object; nothing but oldObject and managedFields is nested deeper than kMaxDepth. Otherwise
//   `problem` names the first offence. Only the label asked for is read of metadata.labels; ownerReferences see
//   ControllerReference::State.
// Keys are compared after unescaping.
class ReviewDecoder {
 public:
  // A longer body is kInvalid.
  explicit ReviewDecoder(std::size_t max_body_bytes);
  ~ReviewDecoder();
  ReviewDecoder(ReviewDecoder&&) noexcept;

  // `body` is followed by http::kBodyPadding readable bytes, whatever they are, and unchanged as long as the result is
  // used. `shard_label`: key of the label wanted.
  Result<AdmissionReview> decode(std::string_view body, std::string_view shard_label);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sharder::webhook
