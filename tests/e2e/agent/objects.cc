#include "objects.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

namespace agent {

namespace {

// The drain label of the Go sharder, and ours for a shard of this name: it names no target.
constexpr std::string_view kNoTarget = "true";

}  // namespace

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

Objects::Objects(std::string ring)
    : shard_label_("shard.alpha.sharding.timebertt.dev/" + ring),
      drain_label_("drain.alpha.sharding.timebertt.dev/" + std::move(ring)),
      marked_(now()) {}

std::size_t Objects::add_resource(const std::string& path, bool controlled) {
  const std::lock_guard lock(mutex_);
  resources_.push_back({path, controlled});
  return resources_.size() - 1;
}

Seen Objects::parse(simdjson::ondemand::object metadata) const {
  Seen seen;
  const auto text = [](auto value) { return std::string(value.get_string().value()); };
  for (auto field : metadata) {
    const std::string_view name = field.unescaped_key();
    if (name == "namespace") {
      seen.namespace_ = text(field.value());
    } else if (name == "name") {
      seen.name = text(field.value());
    } else if (name == "resourceVersion") {
      seen.version = text(field.value());
    } else if (name == "labels") {
      for (auto label : field.value().get_object()) {
        const std::string key(label.unescaped_key().value());
        this->label(seen, key, label.value().get_string().value());
      }
    }
  }
  return seen;
}

// Field numbers of metav1.ObjectMeta.
Seen Objects::parse(protozero::pbf_reader metadata) const {
  Seen seen;
  while (metadata.next()) {
    switch (metadata.tag()) {
      case 1:
        seen.name = metadata.get_string();
        break;
      case 3:
        seen.namespace_ = metadata.get_string();
        break;
      case 6:
        seen.version = metadata.get_string();
        break;
      case 11: {
        std::string texts[2];  // key and value
        for (auto entry = metadata.get_message(); entry.next();) {
          std::string& text = texts[entry.tag() == 1 ? 0 : 1];
          text = entry.get_string();
        }
        label(seen, texts[0], texts[1]);
        break;
      }
      default:
        metadata.skip();
    }
  }
  return seen;
}

void Objects::label(Seen& seen, std::string_view key, std::string_view value) const {
  if (key == shard_label_) {
    seen.shard = value;
  } else if (key == drain_label_) {
    seen.draining = true;
    seen.target = value == kNoTarget ? "" : value;
  }
}

// What the acknowledgement of this shard sets.
std::string Objects::target_for(const std::string& shard, const std::string& target) const {
  return like_go_.contains(shard) ? "" : target;
}

std::string Objects::key(std::size_t resource, const Seen& seen) const {
  const auto& path = resources_[resource].path;
  return path.substr(path.rfind('/') + 1) + "/" + seen.namespace_ + "/" + seen.name;
}

std::string Objects::path_of(std::size_t resource, const Seen& seen) const {
  const auto& path = resources_[resource].path;
  if (!seen.namespace_.empty() && path.find("/namespaces/") == std::string::npos) {
    const auto slash = path.rfind('/');
    return path.substr(0, slash) + "/namespaces/" + seen.namespace_ + path.substr(slash) + "/" + seen.name;
  }
  return path + "/" + seen.name;
}

void Objects::count(const Object& object, int by) {
  auto& with_label = by_shard_[object.shard];
  with_label += by;
  if (with_label == 0) {
    by_shard_.erase(object.shard);
  }
  draining_ += object.draining ? by : 0;
}

void Objects::Longest::note(double duration, const std::string& name, const std::vector<std::string>& labels) {
  if (duration > seconds) {
    *this = {duration, name, labels};
  }
}

// How long it has been with nobody though it might have been moved by then.
double Objects::orphaned_for(const Object& object, double when) const {
  if (!object.without_since) {
    return 0;
  }
  const auto may_move = may_move_.find(object.shard);
  return when - std::max(object.label_since, may_move == may_move_.end() ? 0 : may_move->second);
}

void Objects::saw(std::size_t resource, const Seen& seen) {
  const std::lock_guard lock(mutex_);
  const auto when = now();
  const auto name = key(resource, seen);
  ++events_;
  const auto [found, is_new] = objects_.try_emplace(name);
  auto& object = found->second;
  if (is_new) {
    object.resource = resource;
    object.path = path_of(resource, seen);
    object.without_since = when;
    object.label_since = when;
    ++without_;
  } else {
    if (object.version == seen.version) {
      return;  // a list shows again what the stream has shown
    }
    count(object, -1);
  }
  if (object.shard != seen.shard) {
    orphaned_longest_.note(orphaned_for(object, when), name, {object.shard});
    object.label_since = when;
  }
  object.version = seen.version;
  object.shard = seen.shard;
  object.draining = seen.draining;
  object.target = seen.target;
  count(object, 1);
  if (!seen.shard.empty() && seen.shard != object.last_owner) {
    if (!object.last_owner.empty()) {
      ++moved_;
      last_move_ = when;
      first_move_ = first_move_.value_or(when);
    } else if (!is_new) {
      last_move_ = when;
      first_move_ = first_move_.value_or(when);
    }
    object.last_owner = seen.shard;
  }
  consider(name, object, when);
}

// Begins and ends work, and queues the acknowledgement, by what the object looks like now.
void Objects::consider(const std::string& name, Object& object, double when) {
  const bool controlled = resources_[object.resource].controlled;
  if (object.worked_on && object.intervals.back().shard != object.shard) {
    if (!controlled) {
      violations_.push_back(name + ": taken from " + object.intervals.back().shard + " for " +
                            (object.shard.empty() ? "nobody" : object.shard) + " without its acknowledgement");
    }
    end_work(object, when, "taken");
  }
  if (running(object.shard)) {
    if (object.without_since) {
      without_longest_.note(when - *object.without_since, name, object.without_on);
      object.without_since.reset();
      object.without_on.clear();
      --without_;
    }
    if (object.draining && !controlled && !stubborn_.contains(object.shard)) {
      end_work(object, when, "acknowledged");
      if (!object.acknowledging) {
        object.acknowledging = true;
        drains_.push_back({name, object.shard, object.path, object.version, target_for(object.shard, object.target)});
        work_.notify_one();
      }
    } else if (!object.worked_on && (!object.draining || controlled)) {
      object.intervals.push_back({object.shard, when, std::nullopt, ""});
      object.worked_on = true;
    }
  } else {
    end_work(object, when, "stopped");
    if (!object.without_since) {
      object.without_since = when;
      ++without_;
    }
    if (object.without_on.empty() || object.without_on.back() != object.shard) {
      object.without_on.push_back(object.shard);
    }
  }
}

void Objects::end_work(Object& object, double when, const char* why) {
  if (object.worked_on) {
    object.intervals.back().end = when;
    object.intervals.back().why = why;
    object.worked_on = false;
  }
}

void Objects::gone(std::size_t resource, const Seen& seen) {
  const std::lock_guard lock(mutex_);
  ++events_;
  if (const auto found = objects_.find(key(resource, seen)); found != objects_.end()) {
    erase(found, now());
  }
}

void Objects::erase(std::unordered_map<std::string, Object>::iterator found, double when) {
  auto& object = found->second;
  count(object, -1);
  without_ -= object.without_since ? 1 : 0;
  end_work(object, when, "deleted");
  auto& kept = deleted_[found->first];
  kept.insert(kept.end(), object.intervals.begin(), object.intervals.end());
  objects_.erase(found);
}

void Objects::listed(std::size_t resource, const std::set<std::string>& keys) {
  const std::lock_guard lock(mutex_);
  const auto when = now();
  for (auto next = objects_.begin(); next != objects_.end();) {
    const auto current = next++;
    if (current->second.resource == resource && !keys.contains(current->first)) {
      erase(current, when);
    }
  }
}

void Objects::run(const std::string& shard) {
  const std::lock_guard lock(mutex_);
  running_.insert(shard);
  const auto when = now();
  for (auto& [name, object] : objects_) {
    if (object.shard == shard) {
      orphaned_longest_.note(orphaned_for(object, when), name, {shard});
      object.label_since = when;
      consider(name, object, when);
    }
  }
  may_move_.erase(shard);
}

void Objects::stop(const std::string& shard, double may_move) {
  const std::lock_guard lock(mutex_);
  running_.erase(shard);
  may_move_[shard] = may_move;
  const auto when = now();
  for (auto& [name, object] : objects_) {
    if (object.shard == shard) {
      object.label_since = when;
      consider(name, object, when);
    }
  }
}

void Objects::set_acknowledging(const std::string& shard, bool does) {
  const std::lock_guard lock(mutex_);
  if (does) {
    stubborn_.erase(shard);
  } else {
    stubborn_.insert(shard);
  }
  const auto when = now();
  for (auto& [name, object] : objects_) {
    if (object.shard == shard) {
      consider(name, object, when);
    }
  }
}

void Objects::make_like_go(const std::string& shard) {
  const std::lock_guard lock(mutex_);
  like_go_.insert(shard);
}

std::vector<Drain> Objects::next_drains(std::size_t most, bool wait) {
  std::unique_lock lock(mutex_);
  if (wait) {
    work_.wait(lock, [this] { return !drains_.empty(); });
  }
  const auto end = drains_.begin() + static_cast<std::ptrdiff_t>(std::min(most, drains_.size()));
  std::vector<Drain> taken(std::move_iterator(drains_.begin()), std::move_iterator(end));
  drains_.erase(drains_.begin(), end);
  return taken;
}

bool Objects::wanted(const Drain& drain) {
  const std::lock_guard lock(mutex_);
  return running(drain.shard) && !stubborn_.contains(drain.shard);
}

std::optional<Drain> Objects::again(Drain drain, const Seen& seen) {
  if (seen.shard != drain.shard || !seen.draining || !wanted(drain)) {
    return std::nullopt;
  }
  drain.version = seen.version;
  const std::lock_guard lock(mutex_);
  drain.target = target_for(drain.shard, seen.target);
  return drain;
}

void Objects::finished(const Drain& drain, Outcome outcome) {
  const std::lock_guard lock(mutex_);
  if (outcome == Outcome::kAcknowledged) {
    ++acknowledged_;
    targeted_ += drain.target.empty() ? 0 : 1;
  }
  const auto found = objects_.find(drain.key);
  if (found == objects_.end()) {
    return;
  }
  auto& object = found->second;
  object.acknowledging = false;
  // It changed while we were at it: perhaps it is draining once more, from another shard.
  if (object.version != drain.version) {
    consider(drain.key, object, now());
  }
}

void Objects::count_conflict() {
  const std::lock_guard lock(mutex_);
  ++conflicts_;
}

void Objects::count_error() {
  const std::lock_guard lock(mutex_);
  ++errors_;
}

void Objects::mark() {
  const std::lock_guard lock(mutex_);
  marked_ = now();
  acknowledged_ = targeted_ = conflicts_ = errors_ = moved_ = events_ = 0;
  without_longest_ = orphaned_longest_ = {};
  first_move_.reset();
  last_move_.reset();
}

nlohmann::json Objects::report() {
  const std::lock_guard lock(mutex_);
  auto without = without_longest_, orphaned = orphaned_longest_;
  if (without_ > 0) {
    const auto when = now();
    for (const auto& [name, object] : objects_) {
      if (object.without_since) {
        without.note(when - *object.without_since, name, object.without_on);
        orphaned.note(orphaned_for(object, when), name, {object.shard});
      }
    }
  }
  nlohmann::json answer = {{"objects", objects_.size()},
                           {"shards", by_shard_},
                           {"draining", draining_},
                           {"without", without_},
                           {"acknowledged", acknowledged_},
                           {"targeted", targeted_},
                           {"conflicts", conflicts_},
                           {"errors", errors_},
                           {"moved", moved_},
                           {"events", events_},
                           {"longest_without", without.seconds},
                           {"longest_without_object", without.object},
                           {"longest_without_shards", without.shards},
                           {"longest_orphaned", orphaned.seconds},
                           {"longest_orphaned_object", orphaned.object},
                           {"longest_orphaned_shards", orphaned.shards},
                           {"marked", marked_},
                           {"first_move", nullptr},
                           {"last_move", nullptr},
                           {"running", running_},
                           {"violation_count", violations_.size()},
                           {"violations", nlohmann::json::array()}};
  if (first_move_) {
    answer["first_move"] = *first_move_;
    answer["last_move"] = *last_move_;
  }
  for (std::size_t index = 0; index < violations_.size() && index < 10; ++index) {
    answer["violations"].push_back(violations_[index]);
  }
  return answer;
}

nlohmann::json Objects::history() {
  const std::lock_guard lock(mutex_);
  nlohmann::json answer = nlohmann::json::object();
  const auto add = [&answer](const std::string& name, const std::vector<Interval>& intervals) {
    auto& list = answer[name];
    for (const auto& one : intervals) {
      list.push_back({one.shard, one.begin, one.end ? nlohmann::json(*one.end) : nlohmann::json(), one.why});
    }
  };
  for (const auto& [name, intervals] : deleted_) {
    add(name, intervals);
  }
  for (const auto& [name, object] : objects_) {
    add(name, object.intervals);
  }
  return answer;
}

}  // namespace agent
