#include "tests/unit/rebalancer/simulation.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <stdexcept>
#include <utility>

namespace sharder::testing {

namespace {

constexpr std::chrono::milliseconds kStep{50};

std::string after(const std::string& text, const std::string& beginning, const std::string& end) {
  const auto at = text.find(beginning);
  if (at == std::string::npos) {
    return "";
  }
  const auto from = at + beginning.size();
  return text.substr(from, text.find_first_of(end, from) - from);
}

// "secrets" or "configmaps", "" for another resource.
std::string resource_of(const std::string& target) {
  const std::string path = target.substr(0, target.find('?'));
  for (const char* const name : {"/secrets", "/configmaps"}) {
    if (path.ends_with(name) || path.contains(std::string(name) + "/")) {
      return name + 1;
    }
  }
  return "";
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

// wait | answered | 429 [NAME] | 422 [NAME] | forbidden
void RebalancerSimulation::refuse_patches(const Words& words) {
  const std::string& how = words.at(0);
  harness_->cluster.hold_patches = how == "wait";
  refused_object_ = words.size() > 1 ? "ns/" + words[1] : "";
  refused_.reset();
  if (how == "429") {
    refused_ = Error{.code = ErrorCode::kUnavailable, .message = "429 Too Many Requests", .http_status = 429};
  } else if (how == "422") {
    refused_ = Error{.code = ErrorCode::kInvalid, .message = "422 it is not as it should be", .http_status = 422};
  } else if (how == "forbidden") {
    refused_ = Error{.code = ErrorCode::kForbidden, .message = "cannot patch resource", .http_status = 403};
  } else if (how != "wait" && how != "answered") {
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
  if (resource_of(request.target).empty()) {
    return std::nullopt;
  }
  if (request.method != kube::Method::kPatch) {
    log_list(request);
    return std::nullopt;
  }
  log_patch(request);
  const std::string object = "ns/" + after(request.target, "/secrets/", "?");
  const bool hits = refused_ && (refused_object_.empty() || refused_object_ == object);
  log_ << (hits ? " -> " + refused_->message : "") << "\n";
  return hits ? refused_ : std::nullopt;
}

void RebalancerSimulation::log_patch(const kube::Request& request) {
  const std::string resource = resource_of(request.target);
  const std::string name = after(request.target, "/" + resource + "/", "?");
  const Json body = Json::parse(request.body)["metadata"];
  log_ << "patch " << resource << " " << name << describe_labels(body["labels"]);
  const auto found = harness_->cluster.objects.find({resource == "secrets" ? kSecrets : kConfigMaps, "ns/" + name});
  if (found == harness_->cluster.objects.end()) {
    log_ << " -> not found";
  } else if (found->second["metadata"]["resourceVersion"] != body["resourceVersion"]) {
    log_ << " -> conflict";
  }
}

void RebalancerSimulation::log_list(const kube::Request& request) {
  const std::string resource = resource_of(request.target);
  if (const std::string name = after(request.target, "metadata.name%3D", "&"); !name.empty()) {
    log_ << "read " << resource << " " << name << "\n";
  } else {
    log_ << "list " << resource << (request.target.contains("continue=") ? ", next page" : "") << "\n";
  }
}

void RebalancerSimulation::log_streams() {
  for (; streams_ < harness_->api.streams.size(); ++streams_) {
    const std::string& target = harness_->api.streams[streams_]->request.target;
    const std::string resource = resource_of(target);
    if (resource.empty() || !harness_->cluster.no_watch.empty()) {
      continue;  // how often it is tried in vain is drawn
    }
    const std::string selector = after(target, "labelSelector=", "&");
    const std::string shards = after(selector, "notin", "&");
    log_ << (selector.starts_with("drain") ? "count drains of " : "watch orphans of ") << resource;
    std::string plain;
    for (std::size_t at = 0; at < shards.size(); ++at) {
      if (shards[at] == '%') {
        const std::string code = shards.substr(at + 1, 2);
        plain += code == "2C" ? " " : "";
        at += 2;
      } else {
        plain += shards[at] == '(' || shards[at] == ')' || shards[at] == '+' ? "" : std::string(1, shards[at]);
      }
    }
    log_ << (plain.empty() ? "" : ", not of " + plain) << "\n";
  }
}

void RebalancerSimulation::log_events() {
  for (; events_ < harness_->cluster.events.size(); ++events_) {
    log_ << "event " << harness_->cluster.events[events_]["reason"].get<std::string>() << "\n";
  }
}

}  // namespace sharder::testing
