// checksum-controller: for every Secret of a ring it keeps a ConfigMap `checksums-<name>` with the SHA-256 of each
// value. A sharded controller as small as they come, built on shard/.
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "shard/observer.h"
#include "shard/shard.h"

namespace {

namespace shard = sharder::shard;

const shard::ResourceName kSecrets{.group = "", .plural = "secrets"};
const shard::ResourceName kConfigMaps{.group = "", .plural = "configmaps"};

std::string sha256_hex(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr);
  std::string hex;
  for (unsigned i = 0; i < size; ++i) {
    std::array<char, 3> byte{};
    std::snprintf(byte.data(), byte.size(), "%02x", digest[i]);
    hex += byte.data();
  }
  return hex;
}

std::string decode_base64(const std::string& text) {
  std::string bytes(text.size() / 4 * 3, '\0');
  EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()), reinterpret_cast<const unsigned char*>(text.data()),
                  static_cast<int>(text.size()));
  bytes.resize(bytes.size() - static_cast<std::size_t>(std::ranges::count(text, '=')));
  return bytes;
}

// The ConfigMap that belongs to a Secret.
nlohmann::json checksums_of(const nlohmann::json& secret) {
  const nlohmann::json values = secret.value("data", nlohmann::json::object());
  nlohmann::json data = nlohmann::json::object();
  for (const auto& [key, value] : values.items()) {
    data[key] = sha256_hex(decode_base64(value.get<std::string>()));
  }
  const nlohmann::json& metadata = secret.at("metadata");
  const std::string name = metadata.at("name");
  return {{"apiVersion", "v1"},
          {"kind", "ConfigMap"},
          {"metadata",
           {{"name", "checksums-" + name},
            {"namespace", metadata.at("namespace")},
            {"ownerReferences",
             {{{"apiVersion", "v1"},
               {"kind", "Secret"},
               {"name", name},
               {"uid", metadata.at("uid")},
               {"controller", true},
               {"blockOwnerDeletion", true}}}}}},
          {"data", data}};
}

sharder::Result<shard::Requeue> reconcile(shard::Reconciliation& run) {
  const nlohmann::json wanted = checksums_of(run.object());
  for (const nlohmann::json& map : run.owned(kConfigMaps)) {
    if (map["metadata"]["name"] == wanted["metadata"]["name"] &&
        map.value("data", nlohmann::json::object()) == wanted["data"]) {
      return shard::Requeue{};
    }
  }
  const auto applied = run.client().apply(kConfigMaps, wanted, /*force=*/true);
  if (!applied) {
    return std::unexpected(applied.error());
  }
  return shard::Requeue{};
}

struct Arguments {
  shard::Options options = {};
  std::string main_namespace = {};
  std::string journal = {};
  std::chrono::milliseconds reconcile_time{0};
  unsigned workers = 5;
};

constexpr const char* kUsage =
    "checksum-controller: keeps a ConfigMap with checksums for every Secret of a ring\n"
    "  --controllerring NAME      the ring (default: checksum-controller)\n"
    "  --namespace NAME           only Secrets of this namespace (default: all)\n"
    "  --shard-name NAME          name of this shard and its Lease (default: the host's name)\n"
    "  --lease-namespace NAME     namespace of the Lease (default: the pod's, or the kubeconfig's)\n"
    "  --kubeconfig FILE          default: $KUBECONFIG, the pod's service account, ~/.kube/config\n"
    "  --workers N                Secrets that are reconciled at the same time (default: 5)\n"
    "  --lease-seconds N          duration of the Lease (default: 15)\n"
    "  --metrics-bind-address A   default :8080, 0: none\n"
    "  --health-bind-address A    default :8081, 0: none\n"
    "  --journal FILE             append what this shard does, as tests/judge reads it\n"
    "  --reconcile-milliseconds N how much longer each reconciliation takes, for demonstrations (default: 0)\n";

// nullopt after a message on standard error.
std::optional<Arguments> parse(const std::vector<std::string>& words) {
  Arguments arguments{.options = {.ring = "checksum-controller"}};
  std::string workers;
  std::string lease_seconds;
  std::string reconcile_milliseconds;
  const std::map<std::string, std::string*> flags{{"controllerring", &arguments.options.ring},
                                                  {"namespace", &arguments.main_namespace},
                                                  {"shard-name", &arguments.options.name},
                                                  {"lease-namespace", &arguments.options.lease_namespace},
                                                  {"kubeconfig", &arguments.options.kubeconfig},
                                                  {"metrics-bind-address", &arguments.options.metrics_address},
                                                  {"health-bind-address", &arguments.options.health_address},
                                                  {"workers", &workers},
                                                  {"lease-seconds", &lease_seconds},
                                                  {"journal", &arguments.journal},
                                                  {"reconcile-milliseconds", &reconcile_milliseconds}};
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::string name = words[i].substr(std::min(words[i].find_first_not_of('-'), words[i].size()));
    std::optional<std::string> value;
    if (const std::size_t sign = name.find('='); sign != std::string::npos) {
      value = name.substr(sign + 1);
      name.resize(sign);
    } else if (i + 1 < words.size()) {
      value = words[++i];
    }
    const auto flag = flags.find(name);
    if (flag == flags.end() || !value) {
      std::fprintf(stderr, "checksum-controller: %s: %s\n%s", words[i].c_str(),
                   flag == flags.end() ? "unknown flag" : "a value is missing", kUsage);
      return std::nullopt;
    }
    *flag->second = *value;
  }
  try {
    arguments.workers = workers.empty() ? arguments.workers : static_cast<unsigned>(std::stoul(workers));
    arguments.reconcile_time =
        std::chrono::milliseconds(reconcile_milliseconds.empty() ? 0 : std::stoul(reconcile_milliseconds));
    if (!lease_seconds.empty()) {
      const std::chrono::milliseconds duration = std::chrono::seconds(std::stoul(lease_seconds));
      arguments.options.lease_duration = duration;
      arguments.options.renew_deadline = duration * 2 / 3;
      arguments.options.retry_period = duration * 2 / 15;
    }
  } catch (const std::exception&) {
    std::fputs("checksum-controller: --workers, --lease-seconds and --reconcile-milliseconds take a number\n", stderr);
    return std::nullopt;
  }
  return arguments;
}

int run(Arguments arguments) {
  const auto log = sharder::Logger::to_stderr(sharder::LogLevel::kInfo, sharder::LogFormat::kJson);
  const auto fail = [](const sharder::Error& error) {
    std::fprintf(stderr, "checksum-controller: %s\n", error.message.c_str());
    return 1;
  };
  arguments.options.user_agent =
      "checksum-controller" + (arguments.options.name.empty() ? "" : "/" + arguments.options.name);
  if (!arguments.journal.empty()) {
    const auto journal = shard::journal_to(arguments.journal, arguments.options.name);
    if (!journal) {
      return fail(journal.error());
    }
    arguments.options.observer = *journal;
  }
  const auto made = shard::Shard::create(arguments.options, log);
  if (!made) {
    return fail(made.error());
  }
  const auto added = (*made)->add({.main = kSecrets,
                                   .object_namespace = arguments.main_namespace,
                                   .controlled = {{.resource = kConfigMaps}},
                                   .reconcile =
                                       [time = arguments.reconcile_time](shard::Reconciliation& one) {
                                         std::this_thread::sleep_for(time);
                                         return reconcile(one);
                                       },
                                   .workers = arguments.workers});
  if (!added) {
    return fail(added.error());
  }
  const auto ended = (*made)->run();
  return ended ? 0 : fail(ended.error());
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  for (const std::string& word : words) {
    if (word == "--help" || word == "-h") {
      std::fputs(kUsage, stdout);
      return 0;
    }
  }
  const auto arguments = parse(words);
  return arguments ? run(*arguments) : 2;
}
