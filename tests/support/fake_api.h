#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kube/client/api.h"
#include "tests/support/fake_executor.h"

namespace sharder::testing {

// An API server that the test plays: it sees each request and answers when it likes. One thread: the test's; callbacks
// run inside answer() and fail().
class FakeApi final : public kube::Api {
 public:
  struct Pending {
    kube::Request request;
    Callback callback;
  };
  struct OpenStream {
    kube::Request request;
    std::shared_ptr<kube::StreamSink> sink;
    bool cancelled = false;
  };

  explicit FakeApi(FakeExecutor& executor) : executor_(executor) {}

  void send(kube::Request request, Callback callback) override {
    if (request.still_wanted) {
      request.still_wanted();  // the client asks before each try; the test may do so again, later
    }
    pending.push_back({std::move(request), std::move(callback)});
  }
  std::unique_ptr<kube::Stream> open_stream(kube::Request request, std::shared_ptr<kube::StreamSink> sink) override {
    streams.push_back(std::make_shared<OpenStream>(std::move(request), std::move(sink)));
    return std::make_unique<FakeStream>(*this, streams.back());
  }
  Executor& loop() override { return executor_; }

  // Answers the oldest request that waits.
  kube::Request answer(std::string body, int status = 200) {
    return finish(kube::Response{.status = status, .body = std::move(body)});
  }
  kube::Request fail(Error error) { return finish(std::unexpected(std::move(error))); }

  std::deque<Pending> pending;                       // requests without an answer, oldest first
  std::vector<std::shared_ptr<OpenStream>> streams;  // every stream ever opened, oldest first

 private:
  class FakeStream final : public kube::Stream {
   public:
    FakeStream(FakeApi& api, const std::shared_ptr<OpenStream>& stream) : api_(api), stream_(stream) {}
    void cancel() override {
      if (const auto open = stream_.lock(); open && !std::exchange(open->cancelled, true)) {
        api_.executor_.post(
            [stream = open] { stream->sink->on_close(Error{.code = ErrorCode::kCancelled, .message = "cancelled"}); });
      }
    }

   private:
    FakeApi& api_;
    std::weak_ptr<OpenStream> stream_;  // not owned: its sink may own this handle
  };

  kube::Request finish(Result<kube::Response> result) {
    Pending first = std::move(pending.front());
    pending.pop_front();
    first.callback(std::move(result));
    return std::move(first.request);
  }

  FakeExecutor& executor_;
};

}  // namespace sharder::testing
