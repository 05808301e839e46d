#include "tests/unit/rebalancer/simulation.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "ring/names.h"

namespace sharder::testing {

namespace {

constexpr std::chrono::milliseconds kStep{50};

bool is_logged(const FakeCluster::Call& call) {
  return call.route.plural == "secrets" || call.route.plural == "configmaps";
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
    harness_->cluster.refuse = [this](const FakeCluster::Call& call) { return decide(call); };
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
    watch_forbidden_ = words.at(0) == "forbidden";
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
      labels[kDrain] = ring::kDrainLabelValue;
    } else if (word.starts_with("app=")) {
      labels["app"] = word.substr(4);
    } else if (word.starts_with("controller=")) {
      owners.push_back(
          {{"apiVersion", "v1"}, {"kind", "Secret"}, {"name", word.substr(11)}, {"uid", "uid"}, {"controller", true}});
    }
  }
  harness_->cluster.put(collection, "ns", name, labels, owners);
}

// NAME [as-go]
void RebalancerSimulation::acknowledge(const Words& words) {
  const std::string& name = words.at(0);
  const Json drain = harness_->labels(name).at(kDrain);
  if (words.size() == 1 && drain != ring::kDrainLabelValue) {
    harness_->acknowledge_to_target(name);
    return;
  }
  harness_->acknowledge(name);
  Json labels = harness_->labels(name);
  labels[kShard] = harness_->owner(name);  // the webhook
  harness_->add_secret(name, labels);
}

// wait | undone | answered | 429 [NAME] | 422 [NAME] | forbidden
void RebalancerSimulation::refuse_patches(const Words& words) {
  const std::string& how = words.at(0);
  harness_->cluster.hold_patches = how == "wait";
  harness_->cluster.undo_patches = how == "undone";
  refused_object_ = words.size() > 1 ? "ns/" + words[1] : "";
  refused_.reset();
  if (how == "429") {
    refused_ = apiserver::failure(429, "429 Too Many Requests");
  } else if (how == "422") {
    refused_ = apiserver::failure(422, "422 it is not as it should be");
  } else if (how == "forbidden") {
    refused_ = apiserver::failure(403, "cannot patch resource");
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
std::optional<apiserver::Status> RebalancerSimulation::decide(const FakeCluster::Call& call) {
  if (call.route.verb == "watch") {
    const bool forbidden = watch_forbidden_ && call.route.plural == "secrets";
    return forbidden ? std::optional(apiserver::failure(403, "cannot watch resource")) : std::nullopt;
  }
  log_streams();
  if (!is_logged(call)) {
    return std::nullopt;
  }
  if (call.route.verb != "patch") {
    log_list(call);
    return std::nullopt;
  }
  log_patch(call);
  const bool hits = refused_ && (refused_object_.empty() || refused_object_ == call.object());
  log_ << (hits ? " -> " + refused_->message : "") << "\n";
  return hits ? refused_ : std::nullopt;
}

void RebalancerSimulation::log_patch(const FakeCluster::Call& call) {
  const Json metadata = Json::parse(call.request.body)["metadata"];
  log_ << "patch " << call.route.plural << " " << call.route.name << describe_labels(metadata["labels"]);
  const auto found = harness_->cluster.find("/api/v1/" + call.route.plural, call.object());
  if (!found) {
    log_ << " -> not found";
  } else if (metadata["resourceVersion"] != std::to_string(found->version())) {
    log_ << " -> conflict";
  }
}

void RebalancerSimulation::log_list(const FakeCluster::Call& call) {
  constexpr std::string_view kByName = "metadata.name=";
  if (const std::string field = call.request.parameter("fieldSelector"); field.starts_with(kByName)) {
    log_ << "read " << call.route.plural << " " << field.substr(kByName.size()) << "\n";
  } else {
    log_ << "list " << call.route.plural << (call.request.parameter("continue").empty() ? "" : ", next page") << "\n";
  }
}

void RebalancerSimulation::log_streams() {
  for (; streams_ < harness_->api.streams.size(); ++streams_) {
    const auto call = FakeCluster::call_of(harness_->api.streams[streams_]->request);
    if (!is_logged(call) || watch_forbidden_) {
      continue;  // how often it is tried in vain is drawn
    }
    const std::string selector = call.request.parameter("labelSelector");  // "DRAIN", or "SHARD notin (a,b)"
    log_ << (selector.starts_with(kDrain) ? "count drains of " : "watch orphans of ") << call.route.plural;
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
