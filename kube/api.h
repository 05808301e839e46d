#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/executor.h"
#include "kube/streamed_list.h"

// Requests to the API server.
namespace sharder::kube {

enum class Method { kGet, kPost, kPut, kPatch, kDelete };

// Which connections a request goes over, so that one kind of work never waits for another: kube-apiserver allows 100
// streams on an HTTP/2 connection, and we use at most 80 of each.
enum class Lane {
  kUrgent,   // take-overs, probes, the leader election
  kGeneral,  // everything else that is short: status, webhook configurations, Events, token reviews, discovery
  kList,     // list pages
  kWatch,    // watches and nothing else
  kMove,     // the rebalancer's patches: many at a time are sent, and their answers read, together, some ms later
};

struct Request {
  Method method = Method::kGet;
  std::string target;  // path and query, escaped: "/api/v1/secrets?limit=500" (kube/resource.h makes it)
  std::string body = {};
  std::string content_type = {};  // "" without a body
  std::string accept = "application/json";
  // Of the whole call, the waits of the rate limiter and the retries of 429 and 503 included. A stream: until its
  // answer's header.
  std::chrono::milliseconds timeout{10'000};
  Lane lane = Lane::kGeneral;
  // Asked on the API loop each time before the request goes out, which may be after waits: false gives kCancelled.
  std::function<bool()> still_wanted = {};
};

struct Response {
  int status = 0;  // 2xx: everything else is an Error
  std::string body;
  bool throttled = false;  // it came only after a 429 or 503 with Retry-After
};

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

// The API server. Safe from any thread unless said otherwise. Client (kube/client.h) is the real one, tests bring
// FakeApi (tests/support/fake_api.h).
class Api {
 public:
  using Callback = std::move_only_function<void(Result<Response>)>;

  virtual ~Api() = default;

  // Sends the request; `callback` runs on the API loop, exactly once. Errors carry the code for the caller, the HTTP
  // status, the reason and message of the metav1.Status, and name method and path. Never blocks.
  // Retried here, within the timeout: 429 and 503 with Retry-After, and a 401 once with renewed credentials. Nothing
  // else: what a lost connection did to a write only the caller can judge.
  virtual void send(Request request, Callback callback) = 0;

  // Opens a stream; from the API loop only. A failure comes as on_close().
  virtual std::unique_ptr<Stream> open_stream(Request request, std::shared_ptr<StreamSink> sink) = 0;

  // Runs tasks on the API loop, where the callbacks come too. Keep them short.
  virtual Executor& loop() = 0;

  // What watches of a resource ("leases.coordination.k8s.io") have found out; from the API loop only.
  StreamedList& streamed_list(const std::string& resource) { return streamed_lists_[resource]; }

 private:
  std::map<std::string, StreamedList> streamed_lists_;
};

// Sends and waits for the answer; not from the API loop. kCancelled as soon as `stop` is requested.
Result<Response> call(Api& api, Request request, const std::stop_token& stop = {});

}  // namespace sharder::kube
