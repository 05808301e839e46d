#include "kube/client/api.h"

#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

#include "kube/client/answer_error.h"

namespace sharder::kube {

Result<Response> call(Api& api, Request request, const std::stop_token& stop) {
  struct Answer {
    std::mutex mutex;
    std::condition_variable_any came;
    std::optional<Result<Response>> result;
  };
  const auto answer = std::make_shared<Answer>();  // outlives this call when `stop` ends it early
  const std::string what = describe(request.method, request.target);
  api.send(std::move(request), [answer](Result<Response> result) {
    std::lock_guard lock(answer->mutex);
    answer->result = std::move(result);
    answer->came.notify_all();
  });
  std::unique_lock lock(answer->mutex);
  answer->came.wait(lock, stop, [&] { return answer->result.has_value(); });
  if (!answer->result) {
    return fail(ErrorCode::kCancelled, what + ": cancelled");
  }
  return *std::move(answer->result);
}

}  // namespace sharder::kube
