// Kubeconfigs of any bytes: they are read or refused with a reason, and what is read can be used.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "kube/access/config.h"
#include "kube/access/server_url.h"
#include "kube/codec/pem.h"
#include "tests/fuzz/require.h"
#include "tests/support/parse_kubeconfig.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = sharder::testing::parse_kubeconfig(text, "/nonexistent", "");
  if (!config) {
    require(config.error().code == sharder::ErrorCode::kInvalid);
    require(config.error().message.starts_with("kubeconfig"));
    return 0;
  }
  const auto server = sharder::kube::parse_server_url(config->server);
  require(server.has_value() && server->text() == config->server);
  require(config->client_certificate_pem.empty() == config->client_key_pem.empty());
  require(config->ca_pem.empty() || sharder::kube::read_ca_bundle(config->ca_pem).has_value());
  require(!config->exec || (!config->exec->command.empty() && config->token.empty()));
  require(config->token.find('\n') == std::string::npos);
  return 0;
}
