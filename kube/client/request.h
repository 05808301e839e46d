#pragma once

#include <chrono>
#include <functional>
#include <string>

// Requests to the API server, and its answers.
namespace sharder::kube {

enum class Method { kGet, kPost, kPut, kPatch, kDelete };

// Which connections a request goes over, so that one kind of work never waits for another: kube-apiserver allows 100
// streams on an HTTP/2 connection, and we use at most 80 of each.
enum class Lane {
  kUrgent,   // take-overs, probes, the leader election
  kGeneral,  // everything else that is short: status, webhook configurations, Events, token reviews, discovery
  kList,     // list pages
  kWatch,    // watches and nothing else
  kMove,     // the rebalancer's patches: when many are under way, they are sent and read together, some ms later
};

struct Request {
  Method method = Method::kGet;
  std::string target;  // path and query, escaped: "/api/v1/secrets?limit=500" (kube/client/resource.h makes it)
  std::string body = {};
  std::string content_type = {};  // "" without a body
  std::string accept = "application/json";
  // For the whole call, with the waits of the rate limiter and the retries of 429 and 503. For a stream: until its
  // answer's header.
  std::chrono::milliseconds timeout{10'000};
  Lane lane = Lane::kGeneral;
  // Called on the API loop each time before the request is sent, which may be after waits. False gives kCancelled.
  std::function<bool()> still_wanted = {};
};

struct Response {
  int status = 0;  // 2xx: everything else is an Error
  std::string body;
  bool was_overloaded = false;  // a 429, or a 503 with Retry-After, came before this answer
};

}  // namespace sharder::kube
