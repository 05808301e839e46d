#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "tests/apiserver/catalog.h"
#include "tests/apiserver/database.h"
#include "tests/apiserver/faults.h"
#include "tests/apiserver/reader.h"
#include "tests/apiserver/remover.h"
#include "tests/apiserver/request.h"
#include "tests/apiserver/webhook_admission.h"
#include "tests/apiserver/writer.h"

namespace sharder::apiserver {

// What goes back over the wire.
struct Answer {
  int code = 200;
  std::string body = {};
  std::string content_type = "application/json";
  std::optional<int> retry_after_seconds = {};
  std::shared_ptr<WatchStream> watch = {};  // instead of a body
};

Answer answer_of(const Status& status);

// From requests to answers: everything but faults, credentials and HTTP. Safe from any thread.
class Api {
 public:
  struct Options {
    std::size_t history = 20'000;
    Reader::Options reading = {};
    std::map<std::string, std::string> services = {};  // where webhooks are: "namespace/name:port" -> "host:port"
    std::string token = {};                            // the one that a TokenReview finds good
  };
  explicit Api(Options options);

  Answer handle(const Request& request);

  // Objects that exist from the start. 4xx Status when it is none that can be stored.
  Outcome<void> add(nlohmann::json object);

  Database& database() { return database_; }
  const Database& database() const { return database_; }
  ServerClock& clock() { return clock_; }

 private:
  Answer handle_resource(const Request& request, const Route& route);
  Answer review(const Request& request, const Resource& resource) const;

  const Options options_;
  Database database_;
  Published<Catalog> catalog_;
  ServerClock clock_;
  Reader reader_;
  Remover remover_;
  WebhookAdmission admission_;
  Writer writer_;
};

}  // namespace sharder::apiserver
