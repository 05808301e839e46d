#include "ctl/replicas.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/base64.h"
#include "kube/client/resource.h"
#include "kube/codec/json.h"
#include "ring/names.h"
#include "ring/object_key.h"

namespace sharder::ctl {

namespace {

using nlohmann::json;

const kube::Resource kPods{"", "v1", "pods", "Pod", true};
constexpr const char* kComponent = "app.kubernetes.io/component=sharder";
constexpr std::string_view kLabels = "/metadata/labels/";
constexpr std::size_t kMostNames = 256;

std::optional<SharderPod> running_pod(const json& pod) {
  if (kube::string_at(pod, "/status/phase") != "Running" ||
      !kube::string_at(pod, "/metadata/deletionTimestamp").empty()) {
    return std::nullopt;
  }
  SharderPod running{.object_namespace = kube::string_at(pod, "/metadata/namespace"),
                     .name = kube::string_at(pod, "/metadata/name"),
                     .image = kube::string_at(pod, "/spec/containers/0/image")};
  for (const json& port : kube::elements_of(kube::value_at(pod, "/spec/containers/0/ports"))) {
    if (const auto number = kube::int_at(port, "/containerPort");
        number && kube::string_at(port, "/name").starts_with("webhook")) {
      running.webhook_port = std::to_string(*number);
    }
  }
  return running;
}

Result<std::optional<std::string>> ask(Cluster& cluster, const RingFacts& ring, const RingResource& resource,
                                       const SharderPod& pod, const std::string& name) {
  const std::string proxied = "https:" + pod.name + ":" + pod.webhook_port;
  const auto body = cluster.call({.method = kube::Method::kPost,
                                  .target = "/api/v1/namespaces/" + pod.object_namespace + "/pods/" + proxied +
                                            "/proxy" + std::string(ring::kWebhookPathPrefix) + ring.name(),
                                  .body = probe_review(resource, name).dump(),
                                  .content_type = "application/json"},
                                 "create", "pods/proxy");
  if (!body) {
    return std::unexpected(body.error());
  }
  const auto review = kube::parse_json(*body);
  return review ? Result<std::optional<std::string>>(answered_shard(*review)) : std::unexpected(review.error());
}

}  // namespace

Result<std::vector<SharderPod>> read_sharder_pods(Cluster& cluster, const std::string& sharder_namespace) {
  std::vector<SharderPod> pods;
  const auto listed = cluster.list(kPods, sharder_namespace, kComponent, [&pods](const json& object) {
    if (auto pod = running_pod(object)) {
      pods.push_back(*std::move(pod));
    }
  });
  return listed ? Result<std::vector<SharderPod>>(std::move(pods)) : std::unexpected(listed.error());
}

std::vector<std::pair<std::string, std::string>> probe_names(const RingFacts& ring, const RingResource& resource) {
  constexpr std::size_t kOfEach = 4;
  const std::size_t members = ring.entry->ring().shards().size();
  const std::size_t wanted = std::min(kMostNames, kOfEach * members);
  const std::size_t of_each = std::max<std::size_t>(1, wanted / std::max<std::size_t>(1, members));
  std::vector<std::pair<std::string, std::string>> names;
  std::map<std::string, std::size_t> taken;
  std::string key;
  for (int number = 0; names.size() < wanted && number < 1'000'000; ++number) {
    const std::string name = "sharderctl-doctor-" + std::to_string(number);
    ring::object_key(key, resource.resource.group, resource.resource.kind,
                     resource.resource.namespaced ? "default" : "", name);
    const std::string shard(*ring.entry->ring().owner(key));
    if (taken[shard]++ < of_each) {
      names.emplace_back(name, shard);
    }
  }
  return names;
}

json probe_review(const RingResource& resource, const std::string& name) {
  const auto& [group, version, plural, kind, namespaced] = resource.resource;
  const std::string object_namespace = namespaced ? "default" : "";
  json metadata{{"name", name}};
  if (namespaced) {
    metadata["namespace"] = object_namespace;
  }
  return {{"apiVersion", "admission.k8s.io/v1"},
          {"kind", "AdmissionReview"},
          {"request",
           {{"uid", name},
            {"kind", {{"group", group}, {"version", version}, {"kind", kind}}},
            {"resource", {{"group", group}, {"version", version}, {"resource", plural}}},
            {"requestKind", {{"group", group}, {"version", version}, {"kind", kind}}},
            {"requestResource", {{"group", group}, {"version", version}, {"resource", plural}}},
            {"name", name},
            {"namespace", object_namespace},
            {"operation", "CREATE"},
            {"userInfo", json::object()},
            {"dryRun", true},
            {"object",
             {{"apiVersion", group.empty() ? version : group + "/" + version},
              {"kind", kind},
              {"metadata", std::move(metadata)}}}}}};
}

std::optional<std::string> answered_shard(const json& review) {
  const auto patch = kube::parse_json(decode_base64(kube::string_at(review, "/response/patch")).value_or(""));
  if (!patch) {
    return std::nullopt;
  }
  for (const json& operation : kube::elements_of(*patch)) {
    if (kube::string_at(operation, "/path").starts_with(kLabels)) {
      return kube::string_at(operation, "/value");
    }
  }
  return std::nullopt;
}

std::vector<ReplicaAnswers> ask_replicas(Cluster& cluster, const RingFacts& ring, const RingResource& resource,
                                         const std::vector<SharderPod>& pods, std::vector<Gap>& gaps) {
  std::vector<ReplicaAnswers> all;
  if (ring.entry->ring().shards().empty()) {
    return all;
  }
  const auto names = probe_names(ring, resource);
  for (const SharderPod& pod : pods) {
    ReplicaAnswers answers{.pod = object_name(pod.object_namespace, pod.name)};
    for (const auto& [name, shard] : names) {
      auto answer = ask(cluster, ring, resource, pod, name);
      if (!answer && exit_code_of(answer.error()) == ExitCode::kNotAllowed) {
        gaps.push_back({.verb = "create", .resource = "pods/proxy", .error = std::move(answer.error())});
        return all;
      }
      if (!answer) {
        answers.failure = std::move(answer.error().message);
        break;
      }
      ++answers.asked;
      if (*answer != shard && ++answers.wrong == 1) {
        answers.example = answer->value_or("no shard") + " instead of " + shard;
      }
    }
    all.push_back(std::move(answers));
  }
  return all;
}

}  // namespace sharder::ctl
