#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "kube/client/api.h"
#include "tests/support/fake_executor.h"

namespace sharder::testing {

// What becomes of one request to a FakeLeaseServer.
struct Fate {
  std::chrono::nanoseconds until_applied{0};   // from sending
  std::chrono::nanoseconds until_answered{0};  // from sending; the caller's timeout may come first
  bool lost = false;                           // it is never applied
  std::optional<Error> refused = {};           // the answer, without being applied
};

// An API server with a single Lease and its optimistic locking, as a leader election sees it. Time is the executor's;
// `fate` decides on each request. One thread: the test's.
class FakeLeaseServer final : public kube::Api {
 public:
  explicit FakeLeaseServer(FakeExecutor& executor) : executor_(executor) {}

  std::function<Fate(const kube::Request&)> fate = [](const kube::Request&) { return Fate{}; };
  nlohmann::json lease;  // null: there is none
  int writes = 0;        // that were applied

  void send(kube::Request request, Callback callback) override {
    struct Call {
      kube::Request request;
      Callback callback;
      Result<kube::Response> result = sharder::fail(ErrorCode::kTimeout, "timeout");
    };
    const auto call = std::make_shared<Call>(std::move(request), std::move(callback));
    const Fate decided = fate(call->request);
    auto answered = decided.until_answered;
    if (decided.refused) {
      call->result = std::unexpected(*decided.refused);
    } else if (!decided.lost) {
      executor_.post_after(decided.until_applied, [this, call] { call->result = apply(call->request); });
    }
    const bool in_time = !decided.lost && answered <= call->request.timeout;
    answered = in_time ? answered : std::chrono::nanoseconds(call->request.timeout);
    executor_.post_after(answered, [call, in_time] {
      call->callback(in_time ? std::move(call->result) : sharder::fail(ErrorCode::kTimeout, "timeout"));
    });
  }

  std::unique_ptr<kube::Stream> open_stream(kube::Request, std::shared_ptr<kube::StreamSink>) override {
    return nullptr;
  }
  Executor& loop() override { return executor_; }

  // Somebody else writes.
  void set_spec(nlohmann::json spec) {
    if (lease.is_null()) {
      lease = {{"metadata", {{"name", "l"}, {"uid", "u"}}}};
    }
    lease["spec"] = std::move(spec);
    stamp();
  }
  void set_labels(nlohmann::json labels) {
    lease["metadata"]["labels"] = std::move(labels);
    stamp();
  }

 private:
  Result<kube::Response> apply(const kube::Request& request) {
    if (request.method == kube::Method::kGet) {
      return lease.is_null() ? error(ErrorCode::kNotFound) : kube::Response{.status = 200, .body = lease.dump()};
    }
    nlohmann::json sent = nlohmann::json::parse(request.body);
    if (request.method == kube::Method::kPost) {
      if (!lease.is_null()) {
        return error(ErrorCode::kExists);
      }
      sent["metadata"]["uid"] = "u" + std::to_string(version_);
    } else {
      if (lease.is_null()) {
        return error(ErrorCode::kNotFound);
      }
      if (sent["metadata"]["resourceVersion"] != lease["metadata"]["resourceVersion"]) {
        return error(ErrorCode::kConflict);
      }
    }
    lease = std::move(sent);
    stamp();
    return kube::Response{.status = 200, .body = lease.dump()};
  }

  static Result<kube::Response> error(ErrorCode code) { return sharder::fail(code, std::string(to_string(code))); }

  void stamp() {
    ++writes;
    lease["metadata"]["resourceVersion"] = std::to_string(++version_);
  }

  FakeExecutor& executor_;
  int version_ = 0;
};

}  // namespace sharder::testing
