#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tests/apiserver/api.h"
#include "tests/apiserver/audit_log.h"
#include "tests/apiserver/faults.h"
#include "tests/apiserver/http_port.h"
#include "tests/apiserver/watch.h"
#include "tests/support/test_certificate.h"

namespace sharder::apiserver {

struct ServerOptions {
  int port = 0;                                  // 0: a free one
  std::vector<nlohmann::json> definitions = {};  // CustomResourceDefinitions that exist from the start
  std::optional<std::filesystem::path> audit_log = {};
  AuditLevel audit_level = AuditLevel::kMetadata;
  bool streaming_lists = true;
  std::size_t history = 20'000;  // versions kept per resource
  std::chrono::milliseconds bookmark_interval{10'000};
  std::map<std::string, std::string> services = {};  // "namespace/name:port" of a webhook -> "host:port"
};

// A Kubernetes API server in this process, on 127.0.0.1, with a CA and a token of its own (README.md). The methods may
// be called from any thread.
class ApiServer {
 public:
  // Listens when it returns. Throws std::runtime_error when it cannot: port taken, definition refused.
  explicit ApiServer(ServerOptions options = {});
  ~ApiServer();
  ApiServer(const ApiServer&) = delete;
  ApiServer& operator=(const ApiServer&) = delete;

  // Ends all connections.
  void stop();

  int port() const { return port_->port(); }
  std::string url() const { return "https://127.0.0.1:" + std::to_string(port()); }
  const std::string& token() const { return token_; }
  // A kubeconfig with the CA and the token.
  std::string kubeconfig() const;
  // A client certificate with all permissions.
  testing::TestCertificate client_certificate(const std::string& user) const;

  // What goes wrong; errors, latency, cut connections and freezes.
  Faults& faults() { return faults_; }
  // Every resourceVersion and continue token from before gets a 410.
  void expire_history();
  // Open watches that match end: cut; or after an ERROR event with this code; or in order. Returns how many.
  int cut_watches(const FaultMatch& match, std::optional<int> error = {}, bool orderly = false);
  // Timestamps that the server writes.
  ServerClock& clock() { return api_.clock(); }
  // The requests themselves, without HTTP.
  Api& api() { return api_; }
  std::size_t open_watches() const { return watches_.size(); }

 private:
  Reply handle(Request request, const Caller& caller);
  Reply handle_known(const Request& request, std::chrono::system_clock::time_point received);
  Answer administer(const Request& request);
  Answer add_faults(const nlohmann::json& body);
  Outcome<int> add_fault(const nlohmann::json& object);
  void audit(const Request& request, int code, const std::string& answer,
             std::chrono::system_clock::time_point received);

  const ServerOptions options_;
  const std::string token_;
  testing::TestCa authority_;
  Api api_;
  Faults faults_;
  WatchRegistry watches_;
  std::unique_ptr<AuditLog> audit_log_;
  std::unique_ptr<HttpPort> port_;
};

}  // namespace sharder::apiserver
