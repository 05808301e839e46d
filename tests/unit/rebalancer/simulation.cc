#include "tests/unit/rebalancer/simulation.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace sharder::testing {

namespace {

constexpr std::chrono::milliseconds kStep{50};

// "secrets" or "configmaps", "" for another resource.
std::string resource_of(const FakeCluster::Target& target) {
  return target.collection == kSecrets ? "secrets" : target.collection == kConfigMaps ? "configmaps" : "";
}

std::string describe_labels(const Json& labels) {
  std::string text;
  for (const auto& [key, value] : labels.items()) {
    const std::string name = key == kShard ? "shard" : key == kDrain ? "drain" : key;
    text += " " + name + "=" + (value.is_null() ? "-" : value.get<std::string>());
  }
  return text;
}

}  // namespace

RebalancerSimulation::RebalancerSimulation() : harness_(std::make_unique<Harness>()) {}

std::string RebalancerSimulation::take_log() {
  return std::exchange(log_, std::ostringstream()).str();
}

void RebalancerSimulation::command(const std::string& line) {
  std::istringstream in(line);
  Words words{std::istream_iterator<std::string>(in), {}};
  const std::string verb = words.front();
  words.erase(words.begin());
  if (verb == "moves-at-once") {
    harness_.reset();
    harness_ = std::make_unique<Harness>(std::stoul(words.at(0)));
  } else if (verb == "ring") {
    harness_->cluster.refuse = [this](const kube::Request& request) { return decide(request); };
    harness_->start(words);
  } else if (verb == "members") {
    harness_->members = std::make_shared<const ring::Ring>(words);
    harness_->publish();
    harness_->rebalancer->on_shards_changed("ring");
  } else if (verb == "secret") {
    put(kSecrets, words);
  } else if (verb == "configmap") {
    put(kConfigMaps, words);
  } else if (verb == "delete") {
    harness_->cluster.remove(kSecrets, "ns/" + words.at(0));
  } else if (verb == "acknowledge") {
    acknowledge(words);
  } else if (verb == "patches") {
    refuse_patches(words);
  } else if (verb == "lists") {
    harness_->cluster.late_lists = words.at(0) == "late";
  } else if (verb == "watch") {
    harness_->cluster.no_watch = words.at(0) == "forbidden" ? std::set<std::string>{kSecrets} : std::set<std::string>();
  } else if (verb == "show") {
    show(words.at(0));
  } else if (verb == "run") {
    run(words.at(0));
  } else {
    throw std::runtime_error("no such command: " + line);
  }
  log_streams();
}

// NAME [shard=S|shard=home] [drain] [app=A] [controller=SECRET]
void RebalancerSimulation::put(const std::string& collection, const Words& words) {
  const std::string& name = words.at(0);
  Json labels = Json::object();
  Json owners = Json::array();
  for (const std::string& word : words) {
    if (word.starts_with("shard=")) {
      const std::string shard = word.substr(6);
      labels[kShard] = shard == "home" ? harness_->owner(name) : shard;
    } else if (word == "drain") {
      labels[kDrain] = "true";
    } else if (word.starts_with("app=")) {
      labels["app"] = word.substr(4);
    } else if (word.starts_with("controller=")) {
      owners.push_back(
          {{"apiVersion", "v1"}, {"kind", "Secret"}, {"name", word.substr(11)}, {"uid", "uid"}, {"controller", true}});
    }
  }
  harness_->cluster.put(collection, "ns", name, std::move(labels), std::move(owners));
}

// NAME [without-webhook]
void RebalancerSimulation::acknowledge(const Words& words) {
  Json labels = harness_->labels(words.at(0));
  labels.erase(kShard);
  labels.erase(kDrain);
  if (words.size() == 1) {
    labels[kShard] = harness_->owner(words.at(0));  // the webhook
  }
  harness_->add_secret(words.at(0), labels);
}

// wait | undone | answered | 429 [NAME] | 422 [NAME] | forbidden
void RebalancerSimulation::refuse_patches(const Words& words) {
  const std::string& how = words.at(0);
  harness_->cluster.hold_patches = how == "wait";
  harness_->cluster.undo_patches = how == "undone";
  refused_object_ = words.size() > 1 ? "ns/" + words[1] : "";
  refused_.reset();
  if (how == "429") {
    refused_ = Error{.code = ErrorCode::kUnavailable, .message = "429 Too Many Requests", .http_status = 429};
  } else if (how == "422") {
    refused_ = Error{.code = ErrorCode::kInvalid, .message = "422 it is not as it should be", .http_status = 422};
  } else if (how == "forbidden") {
    refused_ = Error{.code = ErrorCode::kForbidden, .message = "cannot patch resource", .http_status = 403};
  } else if (how != "wait" && how != "undone" && how != "answered") {
    throw std::runtime_error("no such answer: " + how);
  }
}

void RebalancerSimulation::show(const std::string& name) {
  log_ << name << ":" << describe_labels(harness_->labels(name)) << "\n";
}

void RebalancerSimulation::run(const std::string& time) {
  std::size_t unit = 0;
  const auto number = std::stol(time, &unit);
  const std::string rest = time.substr(unit);
  const auto duration = std::chrono::milliseconds(number) * (rest == "min" ? 60'000 : rest == "s" ? 1000 : 1);
  for (std::chrono::milliseconds passed{0}; passed < duration; passed += kStep) {
    harness_->advance(kStep, kStep);
    log_streams();
    log_events();
  }
}

// Called for each request before it is answered; nullopt: the cluster answers.
std::optional<Error> RebalancerSimulation::decide(const kube::Request& request) {
  log_streams();
  const auto target = FakeCluster::parse(request.target);
  if (resource_of(target).empty()) {
    return std::nullopt;
  }
  if (request.method != kube::Method::kPatch) {
    log_list(target);
    return std::nullopt;
  }
  log_patch(target, Json::parse(request.body)["metadata"]);
  const bool hits = refused_ && (refused_object_.empty() || refused_object_ == target.object());
  log_ << (hits ? " -> " + refused_->message : "") << "\n";
  return hits ? refused_ : std::nullopt;
}

void RebalancerSimulation::log_patch(const FakeCluster::Target& target, const Json& metadata) {
  log_ << "patch " << resource_of(target) << " " << target.name << describe_labels(metadata["labels"]);
  const auto found = harness_->cluster.objects.find({target.collection, target.object()});
  if (found == harness_->cluster.objects.end()) {
    log_ << " -> not found";
  } else if (found->second["metadata"]["resourceVersion"] != metadata["resourceVersion"]) {
    log_ << " -> conflict";
  }
}

void RebalancerSimulation::log_list(const FakeCluster::Target& target) {
  constexpr std::string_view kByName = "metadata.name=";
  if (const std::string field = target.parameter("fieldSelector"); field.starts_with(kByName)) {
    log_ << "read " << resource_of(target) << " " << field.substr(kByName.size()) << "\n";
  } else {
    log_ << "list " << resource_of(target) << (target.parameter("continue").empty() ? "" : ", next page") << "\n";
  }
}

void RebalancerSimulation::log_streams() {
  for (; streams_ < harness_->api.streams.size(); ++streams_) {
    const auto target = FakeCluster::parse(harness_->api.streams[streams_]->request.target);
    const std::string resource = resource_of(target);
    if (resource.empty() || !harness_->cluster.no_watch.empty()) {
      continue;  // how often it is tried in vain is drawn
    }
    const std::string selector = target.parameter("labelSelector");  // "DRAIN", or "SHARD notin (a,b)"
    log_ << (selector.starts_with(kDrain) ? "count drains of " : "watch orphans of ") << resource;
    if (const auto list = selector.find('('); list != std::string::npos) {
      std::string shards = selector.substr(list + 1, selector.size() - list - 2);
      std::ranges::replace(shards, ',', ' ');
      log_ << ", not of " << shards;
    }
    log_ << "\n";
  }
}

void RebalancerSimulation::log_events() {
  for (; events_ < harness_->cluster.events.size(); ++events_) {
    log_ << "event " << harness_->cluster.events[events_]["reason"].get<std::string>() << "\n";
  }
}

}  // namespace sharder::testing
