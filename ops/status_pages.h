#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/executor.h"
#include "http/message.h"
#include "ops/status.h"

namespace sharder::ops {

// The status page, and the figures that it asks for each second:
//   /status        the page: HTML with its own style and script, nothing from elsewhere
//   /status.json   to_json() of the status
// Whoever gets them sees the names of rings, shards and resources. Who may is for the handler to decide.
//
// Safe from any thread. May be destroyed while answers are under way.
class StatusPages {
 public:
  // The figures are gathered on this loop, at most every kLifetime however many ask.
  using Gather = std::function<Status()>;
  static constexpr std::chrono::milliseconds kLifetime{500};

  // `loop` and `clock` outlive every answer.
  StatusPages(Gather gather, Executor& loop, const Clock& clock);

  // Whether `path` is one of the two.
  static bool serves(std::string_view path);
  // `path`: one that is served.
  void answer(std::string_view path, http::Reply reply) const;

 private:
  struct Figures;
  Executor& loop_;
  const std::shared_ptr<Figures> figures_;
};

// Answers the listener on the loopback interface, without TLS: everybody on this machine may read it. GET and HEAD of /
// and of the two paths. A request that calls this machine by another name than localhost, or by another address, is
// answered with 403: it may come from a page of another site.
class StatusHandler final : public http::Handler {
 public:
  explicit StatusHandler(std::shared_ptr<const StatusPages> pages) : pages_(std::move(pages)) {}

  void handle(const http::Request& request, http::Reply reply) override;

 private:
  const std::shared_ptr<const StatusPages> pages_;
};

}  // namespace sharder::ops
