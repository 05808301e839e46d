#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "ring/ring_set.h"
#include "webhook/admission_review.h"

namespace sharder::webhook {

// The content of an answer. The views live until the next decide() and as long as the RingSet.
struct Assignment {
  std::string_view message;  // status.message
  std::string_view warning;  // for the user who sent the object; "" for none
  std::string_view patch;    // JSON Patch; "" for none
};

// Decides on admission reviews (protocol, 4, 5 and 9). Pure, except for the random part of generated names. Reuses its
// buffers, so a decision allocates nothing. Owned by one loop.
class Assigner {
 public:
  // 64 random bits for each call, 0 and 1 equally likely.
  using Random = std::function<std::uint64_t()>;

  explicit Assigner(Random random) : random_(std::move(random)) {}

  // `review` was decoded for the shard label of `ring_name`. `rings` is null before the first RingSet is published.
  // A patch adds the shard label, after empty labels when the object has none. For a main object with generateName it
  // also adds the name from which the key is made.
  // The namespace of the key is metadata.namespace, which kube-apiserver has set by then, else request.namespace. It is
  // not request.namespace for Namespaces, because kube-apiserver puts the object's own name there.
  Assignment decide(const AdmissionReview& review, const ring::RingSet* rings, std::string_view ring_name);

 private:
  Assignment assign(const AdmissionReview& review, const ring::RingEntry& entry);
  Assignment not_assigned(std::string_view reason);
  std::string_view make_name(std::string_view prefix);
  void write_patch(const AdmissionReview& review, const ring::RingEntry& entry, std::string_view shard,
                   std::string_view name);

  Random random_;
  std::string key_;
  std::string name_;
  std::string patch_;
  std::string warning_;
};

}  // namespace sharder::webhook
