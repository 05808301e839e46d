#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/clock.h"
#include "base/guarded.h"
#include "base/log.h"
#include "http/limits.h"
#include "http/message.h"
#include "ring/ring_set.h"
#include "webhook/admission_review.h"
#include "webhook/assign.h"
#include "webhook/metrics.h"

namespace sharder::webhook {

// Answers admission reviews on POST /webhooks/sharder/controllerring/<ring>, from memory: no I/O, no locks except those
// of the metrics (held for a few instructions), no allocation except for the answer's own two strings. One for each
// loop, used on that loop's thread only.
//
// It never denies. A request that is no admission review is answered with an HTTP error and one line with the reason:
// 404 for another path, 405 for another method, 415 for another content type, 400 for a body that is no
// AdmissionReview. Every review is answered with 200 and allowed: true, whatever fails inside. After an exception too,
// the answer allows the object, with a warning; while the uid is unknown it is 500. Requests outside
// /webhooks/sharder/controllerring/ are not counted.
class WebhookHandler final : public http::Handler {
 public:
  // The references outlive the handler.
  WebhookHandler(const Published<ring::RingSet>& rings, WebhookMetrics& metrics, const Clock& clock, Logger log,
                 Assigner::Random random = seeded_random(), std::size_t max_body_bytes = http::Limits{}.max_body_bytes);

  void handle(const http::Request& request, http::Reply reply) override;

  // A new generator, seeded by the operating system.
  static Assigner::Random seeded_random();

 private:
  http::Response answer(const http::Request& request);
  http::Response review(std::string_view ring_name, std::string_view body);
  http::Response allow(const Assignment& assignment) const;
  http::Response failed(std::string_view what);
  const ring::RingSet* newest_rings();

  PublishedReader<ring::RingSet> rings_;
  WebhookMetrics& metrics_;
  const Clock& clock_;
  Logger log_;
  ReviewDecoder decoder_;
  Assigner assigner_;
  AssignmentCounters assignments_;
  std::uint64_t rings_version_ = 0;  // of the RingSet that assignments_ was last cleaned up for
  std::string_view uid_;             // of the review that is being answered, "" as long as it is unknown
};

}  // namespace sharder::webhook
