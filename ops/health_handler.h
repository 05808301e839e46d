#pragma once

#include <functional>
#include <optional>
#include <string>

#include "http/message.h"

namespace sharder::ops {

// Why the program is not ready, nullopt when it is. Everybody may read it, so it has fixed words of the program itself,
// and nothing that came from outside. Called on the health server's loop, must not block.
using ReadyCheck = std::function<std::optional<std::string>()>;

// Answers the health port (protocol, 7), without TLS and for everybody. GET and HEAD of:
//   /healthz   200 as long as the loop runs
//   /readyz    200, or 503 with the reason
// Other methods 405, other paths 404.
class HealthHandler final : public http::Handler {
 public:
  explicit HealthHandler(ReadyCheck ready);

  void handle(const http::Request& request, http::Reply reply) override;

 private:
  const ReadyCheck ready_;
};

}  // namespace sharder::ops
