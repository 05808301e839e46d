#include "webhook/handler.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>

#include "base/ascii.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/guarded.h"
#include "base/log.h"
#include "http/message.h"
#include "ring/names.h"
#include "ring/ring_set.h"
#include "webhook/admission_review.h"
#include "webhook/assign.h"
#include "webhook/metrics.h"
#include "webhook/review_response.h"

namespace sharder::webhook {
namespace {

// Whether the media type is application/json; parameters (charset) may follow.
bool is_json(std::string_view content_type) {
  return equals_ignoring_case(trim(content_type.substr(0, content_type.find(';'))), "application/json");
}

// The ring of /webhooks/sharder/controllerring/<ring>, "" for another path.
std::string_view ring_of(std::string_view path) {
  if (!path.starts_with(ring::kWebhookPathPrefix)) {
    return {};
  }
  path.remove_prefix(ring::kWebhookPathPrefix.size());
  return path.find('/') == std::string_view::npos ? path : std::string_view();
}

http::Response http_error(int status, std::string_view reason) {
  http::Response response{.status = status, .body = std::string(reason)};
  response.body += '\n';
  return response;
}

}  // namespace

WebhookHandler::WebhookHandler(const Published<ring::RingSet>& rings, WebhookMetrics& metrics, const Clock& clock,
                               Logger log, Assigner::Random random, std::size_t max_body_bytes)
    : rings_(rings),
      metrics_(metrics),
      clock_(clock),
      log_(std::move(log)),
      decoder_(max_body_bytes),
      assigner_(std::move(random)),
      assignments_(metrics) {}

Assigner::Random WebhookHandler::seeded_random() {
  std::random_device device;
  std::array<std::uint32_t, 8> seed{};
  std::ranges::generate(seed, std::ref(device));
  std::seed_seq sequence(seed.begin(), seed.end());
  return std::mt19937_64(sequence);
}

void WebhookHandler::handle(const http::Request& request, http::Reply reply) {
  if (!request.path.starts_with(ring::kWebhookPathPrefix)) {
    reply(http_error(404, "there is nothing here"));
    return;
  }
  metrics_.begin_request();
  const SteadyTime begin = clock_.steady();
  uid_ = {};
  http::Response response;
  try {
    response = answer(request);
  } catch (const std::exception& exception) {
    response = failed(exception_text(exception));
  } catch (...) {
    response = failed("unknown exception");
  }
  metrics_.end_request(response.status, clock_.steady() - begin);
  reply(std::move(response));
}

http::Response WebhookHandler::answer(const http::Request& request) {
  const std::string_view ring_name = ring_of(request.path);
  if (ring_name.empty()) {
    return http_error(404, "there is nothing here");
  }
  if (request.method != "POST") {
    auto response = http_error(405, "only POST is allowed here");
    response.headers.emplace_back("Allow", "POST");
    return response;
  }
  if (!is_json(request.content_type)) {
    return http_error(415, "the content type must be application/json");
  }
  return review(ring_name, request.body);
}

http::Response WebhookHandler::review(std::string_view ring_name, std::string_view body) {
  const ring::RingSet* rings = newest_rings();
  const ring::RingEntry* entry = rings == nullptr ? nullptr : rings->find(ring_name);
  // Without a ring the label does not matter: it decides nothing.
  const auto review = decoder_.decode(body, entry == nullptr ? std::string_view() : entry->shard_label());
  if (!review) {
    log_.debug("no admission review", {{"ring", ring_name}, {"error", review.error().message}});
    return http_error(400, "not an AdmissionReview: " + review.error().message);
  }
  uid_ = review->uid;
  const Assignment assignment = assigner_.decide(*review, rings, ring_name);
  if (!assignment.warning.empty()) {
    metrics_.count_warning();
  }
  if (!assignment.patch.empty() && !review->dry_run) {
    assignments_.count(ring_name, review->group, review->resource);
  }
  if (log_.enabled(LogLevel::kDebug)) {
    log_.debug("admission review answered",
               {{"ring", ring_name}, {"uid", uid_}, {"resource", review->resource}, {"answer", assignment.message}});
  }
  return allow(assignment);
}

http::Response WebhookHandler::allow(const Assignment& assignment) const {
  http::Response response{.content_type = "application/json", .body = {}};
  write_review_response(response.body, uid_, assignment);
  return response;
}

http::Response WebhookHandler::failed(std::string_view what) {
  metrics_.count_panic();
  log_.error("admission review failed", {{"error", what}});
  if (uid_.empty()) {
    return http_error(500, "internal error");
  }
  metrics_.count_warning();
  return allow({.message = "object cannot be assigned",
                .warning = "sharder: the object gets no shard: internal error",
                .patch = {}});
}

const ring::RingSet* WebhookHandler::newest_rings() {
  const ring::RingSet* rings = rings_.get().get();
  if (rings != nullptr && rings->version != rings_version_) {
    assignments_.keep_only(*rings);
    rings_version_ = rings->version;
  }
  return rings;
}

}  // namespace sharder::webhook
