#include "ops/health_handler.h"

#include <utility>

#include "ops/answers.h"

namespace sharder::ops {

HealthHandler::HealthHandler(ReadyCheck ready) : ready_(std::move(ready)) {}

void HealthHandler::handle(const http::Request& request, http::Reply reply) {
  const bool readiness = request.path == "/readyz";
  if (!readiness && request.path != "/healthz") {
    return reply(line(404, "not found"));
  }
  if (!is_read(request.method)) {
    return reply(method_not_allowed());
  }
  if (const auto reason = readiness ? ready_() : std::nullopt) {
    return reply(line(503, "not ready: " + *reason));
  }
  reply(line(200, "ok"));
}

}  // namespace sharder::ops
