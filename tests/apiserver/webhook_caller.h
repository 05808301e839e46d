#pragma once

#include <chrono>
#include <expected>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/apiserver/webhook_rules.h"

namespace sharder::apiserver {

// Sends admission reviews over HTTPS/1.1, with idle connections kept per webhook. Safe from any thread; each call is
// one connection's own.
class WebhookCaller {
 public:
  // `services`: where "namespace/name:port" is, as "host:port"; there is no cluster network.
  explicit WebhookCaller(std::map<std::string, std::string> services);
  ~WebhookCaller();

  // The body of the 200 answer, or why there is none. A 429 or 5xx with Retry-After is asked again while the webhook's
  // timeout lasts, as kube-apiserver does.
  std::expected<std::string, std::string> call(const Webhook& webhook, const std::string& body);

 private:
  struct Connection;
  struct Address {
    std::string host;
    int port = 443;
    std::string path;
    std::string connect_to;  // an IP address, if not the host's
  };
  std::expected<Address, std::string> address_of(const Webhook& webhook) const;
  std::unique_ptr<Connection> take(const std::string& key);
  void give_back(const std::string& key, std::unique_ptr<Connection> connection);

  const std::map<std::string, std::string> services_;
  std::mutex mutex_;
  std::map<std::string, std::vector<std::unique_ptr<Connection>>> idle_;
};

}  // namespace sharder::apiserver
