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

// Answers admission reviews on POST /webhooks/sharder/controllerring/<ring>, from memory: no I/O, no lock but those of
// the metrics (held for a few instructions), no allocation but the answer's own two strings. One for each loop, used on
// that loop's thread only.
//
// It never denies. What is no admission review is an HTTP error with one line of reason: 404 another path, 405 another
// method, 415 another content type, 400 no AdmissionReview. Every review is answered with 200 and allowed: true,
// whatever fails inside; an exception too ends as an allowed answer with a warning, or as 500 while the uid is unknown.
// Requests outside /webhooks/sharder/controllerring/ are not counted.
class WebhookHandler final : public http::Handler {
 public:
  // The references outlive the handler.
  WebhookHandler(const Published<ring::RingSet>& rings, WebhookMetrics& metrics, const Clock& clock, Logger log,
                 Assigner::Random random = seeded_random(), std::size_t max_body_bytes = http::Limits{}.max_body_bytes);

  void handle(const http::Request& request, http::Reply reply) override;

  // A generator of its own, seeded by the operating system.
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
