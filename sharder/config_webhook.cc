#include <algorithm>
#include <optional>
#include <utility>

#include "base/ascii.h"
#include "base/base64.h"
#include "certs/x509.h"
#include "http/listen_address.h"
#include "kube/access/server_url.h"
#include "ring/names.h"
#include "sharder/config_sections_internal.h"
#include "sharder/values.h"

namespace sharder::app {
namespace {

void read_webhook_server(ObjectReader& object, WebhookServerConfig& config) {
  object.text("bindAddress", config.bind_address);
  check_bind_address(object, config.bind_address);
  object.text("certDir", config.cert_dir);
  object.text("certName", config.cert_name);
  object.text("keyName", config.key_name);
  object.text("clientCAFile", config.client_ca_file);
}

void read_certificates(ObjectReader& object, WebhookServerConfig& config) {
  std::string certificates = "files";
  object.text("certificates", certificates);
  if (certificates == "selfManaged") {
    config.certificates = CertificateSource::kSelfManaged;
    config.secret_name = "sharder-webhook-server";  // never one that somebody else fills
  } else if (certificates == "secret") {
    config.certificates = CertificateSource::kSecret;
  } else if (certificates != "files") {
    object.mistake("certificates", "want files, secret or selfManaged, got \"" + certificates + "\"");
  }
  if (object.has("secretName") && config.certificates == CertificateSource::kFiles) {
    object.mistake("secretName", "needs certificates: secret or selfManaged");
  }
  object.text("secretName", config.secret_name);
  check_object_name(object, "secretName", config.secret_name, is_dns_subdomain);
}

// Who writes the caBundle of the webhook configurations.
void check_ca_bundle(ObjectReader& object, CertificateSource certificates, controllerring::WebhookSettings& webhook) {
  const bool injected = std::ranges::any_of(webhook.annotations, [](const auto& annotation) {
    return annotation.first.starts_with("cert-manager.io/inject-");
  });
  if (certificates == CertificateSource::kSelfManaged && injected) {
    object.mistake("config.annotations", "cert-manager.io/inject-* excludes certificates: selfManaged");
  }
  const std::string& url = webhook.client_config.url;
  const auto server = kube::parse_server_url(url);
  if (certificates == CertificateSource::kSelfManaged && !url.empty() &&
      !(server && (normal_ip_address(server->host) || is_dns_subdomain(server->host)))) {
    object.mistake("config.clientConfig.url", "selfManaged needs a DNS name or an IP address as host");
  }
  webhook.ca_bundle_is_ours = certificates != CertificateSource::kFiles && !injected;
}

void check_url(ObjectReader& object, const std::string& url) {
  constexpr std::string_view kScheme = "https://";
  const bool secure = url.starts_with(kScheme);
  const std::string_view rest = std::string_view(url).substr(secure ? kScheme.size() : 0);
  const std::string_view authority = rest.substr(0, rest.find('/'));
  const bool plain = std::ranges::none_of(url, [](char c) { return c == '?' || c == '#' || c <= ' ' || c == '\x7f'; });
  if (!secure || authority.empty() || authority.starts_with(':') || authority.contains('@') || !plain) {
    object.mistake("url", "want https://host[:port][/path] without user, query and fragment, got \"" + url + "\"");
  }
}

// The API server would reject empty parts between slashes, and parts that are no DNS names.
bool is_service_path(std::string_view path) {
  if (path.empty() || path == "/") {
    return true;
  }
  if (!path.starts_with('/')) {
    return false;
  }
  path.remove_prefix(1);
  if (path.ends_with('/')) {
    path.remove_suffix(1);
  }
  for (;;) {
    const auto slash = path.find('/');
    if (!is_dns_subdomain(path.substr(0, slash))) {
      return false;
    }
    if (slash == std::string_view::npos) {
      return true;
    }
    path.remove_prefix(slash + 1);
  }
}

void read_service(ObjectReader& object, controllerring::WebhookService& service) {
  object.text("namespace", service.service_namespace);
  object.text("name", service.name);
  object.field("path", service.path);
  check_object_name(object, "namespace", service.service_namespace, is_dns_label);
  check_object_name(object, "name", service.name, is_dns_label);
  if (!is_service_path(service.path)) {
    object.mistake("path", "want a path like /prefix, got \"" + service.path + "\"");
  }
  if (object.has("port")) {
    service.port = 0;
  }
  if (std::int32_t port = 443; object.field("port", port), service.port) {
    service.port = port;
    if (port < 1 || port > 65535) {
      object.mistake("port", "want a number from 1 to 65535");
    }
  }
}

void read_ca_bundle(ObjectReader& object, std::string& bundle) {
  std::string given;
  object.field("caBundle", given);
  const auto pem = decode_base64(given);
  if (!pem) {
    return object.mistake("caBundle", "want PEM certificates in base64");
  }
  // Manifests have "Cg==", which is only a line break, when another program injects the bundle.
  if (pem->find_first_not_of(" \t\r\n") == std::string::npos) {
    return;
  }
  if (const auto checked = certs::check_roots(*pem); !checked) {
    return object.mistake("caBundle", checked.error().message);
  }
  bundle = std::move(given);
}

void read_client_config(ObjectReader& object, controllerring::WebhookClientConfig& config) {
  object.text("url", config.url);
  object.object("service", [&](ObjectReader& service) { read_service(service, config.service); });
  read_ca_bundle(object, config.ca_bundle);
  if (!config.url.empty()) {
    check_url(object, config.url);
    if (object.has("service")) {
      object.mistake("service", "excludes url, give one of them");
    }
  }
}

// The API server's rules for a label selector.
void read_requirement(ObjectReader& object, ring::SelectorRequirement& requirement) {
  std::string op;
  object.field("key", requirement.key);
  object.field("operator", op);
  object.field("values", requirement.values);
  if (!is_qualified_name(requirement.key)) {
    object.mistake("key", "\"" + requirement.key + "\" is no label key");
  }
  const auto known = ring::parse_selector_operator(op);
  if (!known) {
    return object.mistake("operator", "want In, NotIn, Exists or DoesNotExist, got \"" + op + "\"");
  }
  requirement.op = *known;
  const bool wants_values = *known == ring::SelectorOperator::kIn || *known == ring::SelectorOperator::kNotIn;
  if (wants_values == requirement.values.empty()) {
    object.mistake("values", op + (wants_values ? " needs at least one value" : " takes no values"));
  }
  for (const std::string& value : requirement.values) {
    if (!ring::is_label_value(value)) {
      object.mistake("values", "\"" + value + "\" is no label value");
    }
  }
}

void read_selector(ObjectReader& object, ring::LabelSelector& selector) {
  selector = {};  // a selector that is given replaces the default, even an empty one
  object.field("matchLabels", selector.match_labels);
  for (const auto& [key, value] : selector.match_labels) {
    if (!is_qualified_name(key)) {
      object.mistake("matchLabels", "\"" + key + "\" is no label key");
    }
    if (!ring::is_label_value(value)) {
      object.mistake("matchLabels", "\"" + value + "\" is no label value");
    }
  }
  object.objects("matchExpressions", [&](ObjectReader& expression) {
    read_requirement(expression, selector.match_expressions.emplace_back());
  });
}

void read_webhook_config(ObjectReader& object, controllerring::WebhookSettings& config) {
  object.field("annotations", config.annotations);
  for (const auto& [key, value] : config.annotations) {
    if (!is_qualified_name(to_lower(key))) {  // as the API server checks it
      object.mistake("annotations", "\"" + key + "\" is no annotation key");
    }
  }
  object.object("clientConfig", [&](ObjectReader& client) { read_client_config(client, config.client_config); });
  object.object("namespaceSelector",
                [&](ObjectReader& selector) { read_selector(selector, config.namespace_selector); });
}

}  // namespace

void check_bind_address(ObjectReader& object, const std::string& address) {
  if (const auto parsed = http::parse_listen_address(address); !parsed) {
    object.mistake("bindAddress", parsed.error().message);
  }
}

void check_object_name(ObjectReader& object, std::string_view name, const std::string& value,
                       bool (*is_name)(std::string_view)) {
  if (!is_name(value)) {
    object.mistake(name, "\"" + value + "\" is no name that Kubernetes allows there");
  }
}

void read_webhook(ObjectReader& object, WebhookServerConfig& server, controllerring::WebhookSettings& webhook) {
  read_certificates(object, server);
  object.object("server", [&](ObjectReader& o) { read_webhook_server(o, server); });
  object.object("config", [&](ObjectReader& o) { read_webhook_config(o, webhook); });
  check_ca_bundle(object, server.certificates, webhook);
}

}  // namespace sharder::app
