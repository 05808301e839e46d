#include "tests/apiserver/store.h"

#include <algorithm>

namespace sharder::apiserver {

namespace {

std::vector<std::string> owners_of(const nlohmann::json& body) {
  std::vector<std::string> owners;
  if (const auto metadata = body.find("metadata"); metadata != body.end() && metadata->contains("ownerReferences")) {
    for (const auto& reference : metadata->at("ownerReferences")) {
      owners.push_back(reference.value("uid", ""));
    }
  }
  return owners;
}

}  // namespace

std::string Bucket::key(std::string_view object_namespace, std::string_view name) {
  std::string result(object_namespace);
  if (!result.empty()) {
    result += '/';
  }
  return result += name;
}

ObjectPtr Bucket::get(std::string_view key) const {
  const auto found = objects_.find(key);
  return found == objects_.end() ? nullptr : found->second.back().second;
}

void Bucket::scan(std::uint64_t version, std::string_view prefix, std::string_view from,
                  const std::function<bool(const std::string& key, const ObjectPtr&)>& visit) const {
  for (auto entry = objects_.lower_bound(std::max(prefix, from));
       entry != objects_.end() && entry->first.starts_with(prefix); ++entry) {
    const Versions& versions = entry->second;
    const auto after = std::ranges::find_if(versions.rbegin(), versions.rend(),
                                            [&](const auto& candidate) { return candidate.first <= version; });
    if (after != versions.rend() && after->second && !visit(entry->first, after->second)) {
      return;
    }
  }
}

void Bucket::set(const std::string& key, std::uint64_t version, ObjectPtr object) {
  Versions& versions = objects_[key];
  ObjectPtr previous = versions.empty() ? nullptr : versions.back().second;
  live_ += object ? 1 : 0;
  live_ -= previous ? 1 : 0;
  versions.emplace_back(version, object);
  changes_.push_back({version, key, std::move(object), std::move(previous)});
}

bool Bucket::changes_after(std::uint64_t version, const std::function<void(const Change&)>& visit) const {
  if (version < floor_) {
    return false;
  }
  auto change = std::ranges::upper_bound(changes_, version, {}, &Change::version);
  for (; change != changes_.end(); ++change) {
    visit(*change);
  }
  return true;
}

void Bucket::forget_first() {
  const Change& change = changes_.front();
  floor_ = change.version;
  const auto entry = objects_.find(change.key);
  Versions& versions = entry->second;
  const auto first_needed = std::ranges::find(versions, change.version, [](const auto& v) { return v.first; });
  versions.erase(versions.begin(), first_needed);
  if (!versions.front().second) {  // deleted, and nobody can ask for what was before
    versions.erase(versions.begin());
  }
  if (versions.empty()) {
    objects_.erase(entry);
  }
  changes_.pop_front();
}

void Bucket::trim(std::size_t keep) {
  while (changes_.size() > keep) {
    forget_first();
  }
}

void Bucket::compact(std::uint64_t version) {
  while (!changes_.empty() && changes_.front().version <= version) {
    forget_first();
  }
  floor_ = std::max(floor_, version);
}

Bucket& Store::bucket(const std::string& name) {
  return buckets_[name];
}

ObjectPtr Store::swap(const std::string& bucket, const std::string& key, const ObjectPtr& expected,
                      nlohmann::json body) {
  Bucket& objects = buckets_[bucket];
  if (objects.get(key) != expected) {
    return nullptr;
  }
  ++version_;
  const bool deleted = body.is_null();
  index(bucket, key, deleted ? std::vector<std::string>{} : owners_of(body));
  ObjectPtr result;
  if (deleted) {
    result = std::make_shared<const Object>(expected->at_version(version_));
  } else {
    result = std::make_shared<const Object>(std::move(body), version_);
  }
  objects.set(key, version_, deleted ? nullptr : result);
  objects.trim(history_);
  return result;
}

void Store::expire() {
  ++version_;
  for (auto& [name, bucket] : buckets_) {
    bucket.compact(version_);
  }
}

std::vector<std::pair<std::string, std::string>> Store::dependents(const std::string& uid) const {
  std::vector<Place> result;
  if (const auto found = dependents_.find(uid); found != dependents_.end()) {
    result.assign(found->second.begin(), found->second.end());
  }
  return result;
}

void Store::index(const std::string& bucket, const std::string& key, const std::vector<std::string>& owners) {
  const Place place{bucket, key};
  if (const auto known = owners_.find(place); known != owners_.end()) {
    for (const std::string& uid : known->second) {
      if (const auto list = dependents_.find(uid); list != dependents_.end()) {
        list->second.erase(place);
        if (list->second.empty()) {
          dependents_.erase(list);
        }
      }
    }
    owners_.erase(known);
  }
  if (!owners.empty()) {
    for (const std::string& uid : owners) {
      dependents_[uid].insert(place);
    }
    owners_.emplace(place, owners);
  }
}

}  // namespace sharder::apiserver
