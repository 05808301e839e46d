#pragma once

#include <future>
#include <memory>
#include <string>
#include <utility>

#include "base/task_loop.h"
#include "kube/codec/json.h"
#include "tests/support/fake_lease_server.h"

namespace sharder::testing {

// A FakeLeaseServer behind a thread, which answers at once: for what has a thread of its own. From any thread.
class ThreadedLeaseServer final : public kube::Api {
 public:
  void send(kube::Request request, Callback callback) override {
    thread_.post([this, request = std::move(request), callback = std::move(callback)]() mutable {
      server_.send(std::move(request), std::move(callback));
      executor_.run();
    });
  }
  std::unique_ptr<kube::Stream> open_stream(kube::Request, std::shared_ptr<kube::StreamSink>) override {
    return nullptr;
  }
  Executor& loop() override { return thread_; }

  // "" when there is none.
  std::string holder() {
    std::promise<std::string> answer;
    thread_.post([&] { answer.set_value(kube::string_at(server_.lease, "/spec/holderIdentity")); });
    return answer.get_future().get();
  }

 private:
  FakeClock clock_;
  FakeExecutor executor_{clock_};
  FakeLeaseServer server_{executor_};
  TaskLoop thread_{"server", Logger::none()};
};

}  // namespace sharder::testing
