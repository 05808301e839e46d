#include "tests/apiserver/webhook_caller.h"

#include <httplib.h>

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "tests/support/test_certificate.h"

namespace sharder::apiserver {

namespace {

using std::chrono::steady_clock;

constexpr std::size_t kMostIdle = 25;

// nullptr when the bundle holds no certificate. The library frees it.
X509_STORE* store_of(const std::string& bundle_pem) {
  X509_STORE* store = X509_STORE_new();
  const testing::detail::BioPtr bio(BIO_new_mem_buf(bundle_pem.data(), static_cast<int>(bundle_pem.size())));
  bool any = false;
  while (const testing::detail::CertificatePtr certificate{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) {
    any = X509_STORE_add_cert(store, certificate.get()) == 1 || any;
  }
  ERR_clear_error();
  if (!any) {
    X509_STORE_free(store);
    return nullptr;
  }
  return store;
}

// "host:port" with a port that may be missing.
std::pair<std::string, int> host_and_port(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || text.ends_with(']')) {
    return {text, 443};
  }
  return {text.substr(0, colon), std::atoi(text.c_str() + colon + 1)};
}

}  // namespace

struct WebhookCaller::Connection {
  Connection(const std::string& host, int port) : client(host, port) {}
  httplib::SSLClient client;
  bool used = false;
};

WebhookCaller::WebhookCaller(std::map<std::string, std::string> services) : services_(std::move(services)) {}
WebhookCaller::~WebhookCaller() = default;

std::expected<WebhookCaller::Address, std::string> WebhookCaller::address_of(const Webhook& webhook) const {
  Address address;
  if (webhook.url.empty()) {
    const auto place = services_.find(webhook.service);
    if (place == services_.end()) {
      return std::unexpected("service \"" + webhook.service + "\" not found");
    }
    const std::size_t slash = webhook.service.find('/');
    const std::string name = webhook.service.substr(slash + 1, webhook.service.find(':') - slash - 1);
    address.host = name + "." + webhook.service.substr(0, slash) + ".svc";
    std::tie(address.connect_to, address.port) = host_and_port(place->second);
    address.path = webhook.service_path;
    return address;
  }
  constexpr std::string_view kScheme = "https://";
  const std::string rest = webhook.url.substr(kScheme.size());
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  std::tie(address.host, address.port) = host_and_port(rest.substr(0, slash));
  address.path = slash < rest.size() ? rest.substr(slash) : "/";
  return address;
}

std::unique_ptr<WebhookCaller::Connection> WebhookCaller::take(const std::string& key) {
  const std::lock_guard lock(mutex_);
  auto& idle = idle_[key];
  if (idle.empty()) {
    return nullptr;
  }
  auto connection = std::move(idle.back());
  idle.pop_back();
  return connection;
}

void WebhookCaller::give_back(const std::string& key, std::unique_ptr<Connection> connection) {
  const std::lock_guard lock(mutex_);
  auto& idle = idle_[key];
  if (idle.size() < kMostIdle) {
    idle.push_back(std::move(connection));
  }
}

std::expected<std::string, std::string> WebhookCaller::call(const Webhook& webhook, const std::string& body) {
  const auto address = address_of(webhook);
  if (!address) {
    return std::unexpected(address.error());
  }
  const auto end = steady_clock::now() + webhook.timeout;
  const std::string seconds = std::to_string(webhook.timeout.count());
  const std::string path = address->path + (address->path.contains('?') ? "&" : "?") + "timeout=" + seconds + "s";
  const std::string where = "Post \"https://" + address->host + ":" + std::to_string(address->port) + path + "\": ";
  const std::string key = address->host + ":" + std::to_string(address->port) + " " + webhook.ca_bundle_pem;
  std::string why = "context deadline exceeded";
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - steady_clock::now());
    if (left <= std::chrono::milliseconds(0)) {
      return std::unexpected(where + why);
    }
    auto connection = take(key);
    if (!connection) {
      connection = std::make_unique<Connection>(address->host, address->port);
      connection->client.set_keep_alive(true);
      connection->client.set_tcp_nodelay(true);
      if (!address->connect_to.empty()) {
        connection->client.set_hostname_addr_map({{address->host, address->connect_to}});
      }
      if (!webhook.ca_bundle_pem.empty()) {
        X509_STORE* store = store_of(webhook.ca_bundle_pem);
        if (store == nullptr) {
          return std::unexpected("the caBundle holds no certificate");
        }
        connection->client.set_ca_cert_store(store);
      }
    }
    connection->client.set_connection_timeout(left);
    connection->client.set_read_timeout(left);
    connection->client.set_write_timeout(left);
    const auto answer = connection->client.Post(path, body, "application/json");
    if (!answer) {
      // A connection that idled may have been closed meanwhile: once more with a new one.
      const bool stale =
          connection->used && answer.error() != httplib::Error::ConnectionTimeout && steady_clock::now() < end;
      why = httplib::to_string(answer.error());
      if (stale) {
        continue;
      }
      return std::unexpected(where + (steady_clock::now() >= end ? "context deadline exceeded" : why));
    }
    const bool keep = answer->get_header_value("Connection") != "close";
    const int status = answer->status;
    const std::string retry_after = answer->get_header_value("Retry-After");
    if (keep) {
      connection->used = true;
      give_back(key, std::move(connection));
    }
    if (status == 200) {
      return answer->body;
    }
    why = "the server answered " + std::to_string(status) + ": " + answer->body.substr(0, 200);
    const bool again = (status == 429 || status >= 500) && !retry_after.empty();
    const auto pause = std::chrono::seconds(again ? std::max(std::atoi(retry_after.c_str()), 0) : 0);
    if (!again || steady_clock::now() + pause >= end) {
      return std::unexpected(where + why);
    }
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace sharder::apiserver
