#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/executor.h"
#include "kube/client/request.h"
#include "kube/client/streamed_list.h"

namespace sharder::kube {

// Receives a streamed answer (a watch). All calls come on the API loop, one after the other.
class StreamSink {
 public:
  virtual ~StreamSink() = default;
  // A 2xx answer's header has come.
  virtual void on_open() = 0;
  virtual void on_data(std::string_view chunk) = 0;
  // The last call, exactly once: nullopt when the server ended the stream in order; kCancelled after cancel().
  virtual void on_close(std::optional<Error> error) = 0;
};

// A stream that is open. Destroying the handle does not end the stream; the sink lives until on_close() has returned.
class Stream {
 public:
  virtual ~Stream() = default;
  // From the API loop only. on_close(kCancelled) follows, not from within this call.
  virtual void cancel() = 0;
};

// The API server. Safe from any thread unless said otherwise. Client (kube/client/client.h) is the real one, tests use
// FakeApi (tests/support/fake_api.h).
class Api {
 public:
  using Callback = std::move_only_function<void(Result<Response>)>;

  virtual ~Api() = default;

  // Sends the request; `callback` runs on the API loop, exactly once. Errors carry the code for the caller, the HTTP
  // status, the reason and message of the metav1.Status, and name method and path. Never blocks.
  // Retries within the timeout: after a 429, after a 503 with Retry-After, and once after a 401 with renewed
  // credentials. It retries nothing else: only the caller can judge what a lost connection did to a write.
  virtual void send(Request request, Callback callback) = 0;

  // Opens a stream; from the API loop only. A failure comes as on_close().
  virtual std::unique_ptr<Stream> open_stream(Request request, std::shared_ptr<StreamSink> sink) = 0;

  // Runs tasks on the API loop, where the callbacks come too. Keep them short.
  virtual Executor& loop() = 0;

  // What the watches of a resource ("leases.coordination.k8s.io") know of streamed lists; from the API loop only.
  StreamedList& streamed_list(const std::string& resource) {
    return streamed_lists_.try_emplace(resource, streaming_server_).first->second;
  }

 private:
  StreamedList::Server streaming_server_;
  std::map<std::string, StreamedList> streamed_lists_;
};

}  // namespace sharder::kube
