#include "ops/metrics_handler.h"

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <iterator>
#include <string>
#include <string_view>
#include <utility>

#include "ops/answers.h"

namespace sharder::ops {
namespace {

constexpr std::string_view kMetricsPath = "/metrics";
constexpr std::string_view kProfilesPath = "/debug/pprof";

http::Response gather(const MetricSources& sources) {
  std::vector<prometheus::MetricFamily> families;
  for (const auto& source : sources) {
    auto more = source->Collect();
    families.insert(families.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  }
  return {.content_type = "text/plain; version=0.0.4; charset=utf-8",
          .body = prometheus::TextSerializer().Serialize(families)};
}

// The answer to a caller who is not permitted; nullopt for one who is.
std::optional<http::Response> error_answer(Access access) {
  switch (access) {
    case Access::kAllowed:
      return std::nullopt;
    case Access::kUnauthenticated:
      return line(401, "a bearer token that the API server knows is required", {{"WWW-Authenticate", "Bearer"}});
    case Access::kDenied:
      return line(403, "RBAC does not allow you to get this path");
    case Access::kUnknown:
      return line(503, "the API server cannot say who you are", {{"Retry-After", "1"}});
  }
  return line(503, "unknown");
}

bool is_profile(std::string_view path) {
  return path == kProfilesPath ||
         (path.starts_with(kProfilesPath) && path.substr(kProfilesPath.size()).starts_with('/'));
}

}  // namespace

MetricsHandler::MetricsHandler(AccessReviewer* reviewer, MetricSources sources, Executor& worker,
                               std::shared_ptr<const StatusPages> pages)
    : reviewer_(reviewer),
      sources_(std::make_shared<const MetricSources>(std::move(sources))),
      worker_(worker),
      pages_(std::move(pages)) {}

void MetricsHandler::handle(const http::Request& request, http::Reply reply) {
  const bool profile = is_profile(request.path);
  const bool page = pages_ && StatusPages::serves(request.path);
  if (!profile && !page && request.path != kMetricsPath) {
    return reply(line(404, "not found"));
  }
  if (!is_read(request.method)) {
    return reply(method_not_allowed());
  }
  auto answer = [sources = sources_, &worker = worker_, profile, pages = page ? pages_ : nullptr,
                 path = std::string(page ? request.path : ""), reply = std::move(reply)](Access access) mutable {
    if (auto error = error_answer(access)) {
      return reply(std::move(*error));
    }
    if (profile) {
      return reply(line(404, "Go's profiles have no meaning here; how to profile this program: docs/operations.md"));
    }
    if (pages) {
      return pages->answer(path, std::move(reply));
    }
    worker.post([sources, reply = std::move(reply)]() mutable { reply(gather(*sources)); });
  };
  if (reviewer_ == nullptr) {
    return answer(Access::kAllowed);
  }
  reviewer_->review(request.authorization, request.path, std::move(answer));
}

}  // namespace sharder::ops
