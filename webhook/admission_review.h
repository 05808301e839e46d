#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "base/error.h"

namespace sharder::webhook {

// Objects and arrays nested deeper than this are not read; the review's root object is level 1.
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

// The parts of request.object that the webhook needs. A field that is absent or null is "".
struct ReviewedObject {
  std::string_view api_version;
  std::string_view kind;
  std::string_view name;
  std::string_view generate_name;
  std::string_view object_namespace;
  bool has_labels = false;       // metadata.labels is there, also as {}
  std::string_view shard_label;  // value of the label that decode() was asked for
  ControllerReference controller;
};

// An admission.k8s.io/v1 AdmissionReview request. The views live until the next decode() or the end of the body.
struct AdmissionReview {
  std::string_view uid;  // as it stands in the body, escapes included: echo it byte by byte, between quotes
  std::string_view operation;
  std::string_view request_namespace;
  std::string_view group;  // of request.resource, the matched resource, not of requestResource
  std::string_view version;
  std::string_view resource;
  bool dry_run = false;
  ReviewedObject object;
  // Why the object cannot be decided on ("request.object.metadata.name is not a string"), "" when it can. When there is
  // a problem, use only uid of the fields above.
  std::string_view problem;
};

// Decodes AdmissionReviews with one parser, whose memory it reuses. Owned by one loop.
//
// It checks, in this order:
// - The body is a JSON object (RFC 8259). The whole body is checked, also unused parts: structure, literals, numbers of
//   any size, escapes with paired surrogates, UTF-8, no BOM, nothing behind the object. In oldObject and
//   managedFields, and below kMaxDepth, only brackets are counted, and UTF-8 and strings checked.
// - It has kind AdmissionReview, apiVersion admission.k8s.io/v1, an object `request`, and in it a non-empty string
//   `uid`, each of them once. Otherwise it is no AdmissionReview: kInvalid, with the reason.
// - Every field of AdmissionReview has the right type, or is null or absent. No key that is read is there twice in its
//   object. There is an object. Only oldObject and managedFields are nested deeper than kMaxDepth. Otherwise `problem`
//   names the first error. Of metadata.labels only the wanted label is read; for ownerReferences see
//   ControllerReference::State.
// Keys are compared after unescaping.
class ReviewDecoder {
 public:
  // A longer body is kInvalid.
  explicit ReviewDecoder(std::size_t max_body_bytes);
  ~ReviewDecoder();
  ReviewDecoder(ReviewDecoder&&) noexcept;

  // `body` is followed by http::kBodyPadding readable bytes of any value, and does not change as long as the result is
  // used. `shard_label`: key of the wanted label.
  Result<AdmissionReview> decode(std::string_view body, std::string_view shard_label);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sharder::webhook
