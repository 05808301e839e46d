#pragma once

#include <future>
#include <memory>
#include <utility>

#include "kube/client/api.h"

namespace sharder::testing {

// Sends and waits for the answer; not from the API loop.
inline Result<kube::Response> call(kube::Api& api, kube::Request request) {
  const auto answer = std::make_shared<std::promise<Result<kube::Response>>>();  // may be at it when we go on
  api.send(std::move(request), [answer](Result<kube::Response> result) { answer->set_value(std::move(result)); });
  return answer->get_future().get();
}

}  // namespace sharder::testing
