#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "kube/access/server_url.h"
#include "kube/access/tls_files.h"
#include "kube/client/event_loop.h"
#include "kube/client/request.h"

// HTTP exchanges with one server over libcurl's multi interface. Knows nothing of Kubernetes, deadlines or retries:
// client.cc does. Everything here belongs to the API loop.
namespace sharder::kube {

struct TransportOptions {
  ServerUrl server;
  std::string tls_server_name;  // expected in the certificate (and sent as SNI) instead of the host; "" for the host
  std::string proxy;            // URL; "": none, whatever the environment says
  std::string user_agent;
};

struct ResponseHead {
  int status = 0;
  std::string retry_after;  // the header's value, "" when it is absent
  std::optional<std::size_t> content_length;
};

// Why an exchange failed.
struct ExchangeFailure {
  ErrorCode code = ErrorCode::kUnavailable;  // or kTooLarge when on_data() returned false
  std::string message;                       // "connect to 127.0.0.1:6443: Connection refused"
  bool certificate_rejected = false;         // we did not trust the server's certificate: nothing was sent
};

// Receives the answer of one exchange. on_head() and on_data() come from inside libcurl: they must not call the
// Transport.
class ExchangeSink {
 public:
  virtual ~ExchangeSink() = default;
  // The final answer's header, once.
  virtual void on_head(const ResponseHead& head) = 0;
  // A piece of its body. False ends the exchange with kTooLarge.
  virtual bool on_data(std::string_view chunk) = 0;
  // The last call, unless the exchange was aborted; nullopt: the answer is complete. May start and abort exchanges.
  virtual void on_done(const std::optional<ExchangeFailure>& failure) = 0;
};

struct Outgoing {
  Method method = Method::kGet;
  std::string_view target;  // behind the server's path; needed during start() only
  std::string_view body;    // lives as long as the exchange
  std::vector<std::string> headers = {};
  Lane lane = Lane::kGeneral;
  std::chrono::milliseconds connect_timeout{5'000};
};

// Each lane has connections of its own, and each connection a curl multi handle of its own (a pool). One epoll drives
// them all. A pool whose connection may be dead is retired: its exchanges may finish, new ones go to a new pool. By
// itself, libcurl 7.88 would go on giving new streams to an HTTP/2 connection whose peer fell silent.
class Transport {
 public:
  class Exchange;

  Transport(EventLoop& loop, TransportOptions options, TlsMaterial tls);
  // Aborts everything.
  ~Transport();
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  // Begins an exchange; never calls the sink before it returns. The result is valid until on_done() or abort().
  Exchange* start(const Outgoing& outgoing, ExchangeSink& sink);
  // Ends an exchange whose answer nobody wants any more; on_done() is not called.
  void abort(Exchange* exchange);
  // Aborts an exchange that had no answer in time. The next ones on this lane get a new connection.
  void abort_unanswered(Exchange* exchange);
  // True as soon as the request may have reached the server.
  static bool sent(const Exchange* exchange);

  // New connections use `tls`; existing ones take no more requests.
  void set_tls(TlsMaterial tls);
  // Existing connections take no more requests.
  void retire_all();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sharder::kube
