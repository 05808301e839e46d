#include "tests/apiserver/remover.h"

#include <algorithm>
#include <utility>

#include "base/rfc3339.h"
#include "tests/apiserver/body.h"
#include "tests/apiserver/reader.h"

namespace sharder::apiserver {

using nlohmann::json;

namespace {

std::string name_in(const std::string& key) {
  const std::size_t slash = key.find('/');
  return slash == std::string::npos ? key : key.substr(slash + 1);
}

std::string success(const Resource& resource, const Object& object) {
  json details = {{"name", object.name()}, {"kind", resource.plural}, {"uid", object.uid()}};
  if (!resource.group.empty()) {
    details["group"] = resource.group;
  }
  return json{{"kind", "Status"},
              {"apiVersion", "v1"},
              {"metadata", json::object()},
              {"status", "Success"},
              {"details", std::move(details)}}
      .dump();
}

}  // namespace

Outcome<Remover::Options> Remover::options_of(const Request& request) {
  Options options{.orphan = request.parameter("propagationPolicy") == "Orphan",
                  .dry_run = request.parameter("dryRun") == "All"};
  if (request.body.empty()) {
    return options;
  }
  const auto body = parse_body(request);
  if (!body) {
    return refuse(body.error());
  }
  try {
    options.orphan = options.orphan || body->value("propagationPolicy", "") == "Orphan";
    options.dry_run = options.dry_run || !body->value("dryRun", json::array()).empty();
    if (body->contains("preconditions") && body->at("preconditions").is_object()) {
      options.uid = body->at("preconditions").value("uid", "");
      options.version = body->at("preconditions").value("resourceVersion", "");
    }
  } catch (const json::exception& error) {
    return refuse(failure(400, std::string("delete options cannot be decoded: ") + error.what()));
  }
  return options;
}

Outcome<Remover::Removed> Remover::remove_one(const Resource& resource, const std::string& key,
                                              const Options& options) {
  while (true) {
    const ObjectPtr object = database_.get(resource.bucket(), key);
    if (!object) {
      return refuse(not_found(resource, name_in(key)));
    }
    if (!options.uid.empty() && options.uid != object->uid()) {
      return refuse(conflict(resource, object->name(),
                             "the UID in the precondition (" + options.uid + ") does not match the UID in record (" +
                                 object->uid() + "). The object might have been deleted and then recreated"));
    }
    if (const std::string version = std::to_string(object->version());
        !options.version.empty() && options.version != version) {
      return refuse(conflict(resource, object->name(),
                             "the ResourceVersion in the precondition (" + options.version +
                                 ") does not match the ResourceVersion in record (" + version +
                                 "). The object might have been modified"));
    }
    json body = object->json(resource);
    json& metadata = body["metadata"];
    const bool stays = metadata.contains("finalizers") && !metadata["finalizers"].empty();
    if (options.dry_run || (stays && metadata.contains("deletionTimestamp"))) {
      return Removed{object, !stays};
    }
    if (stays) {
      metadata["deletionTimestamp"] = format_time(clock_.now());
      metadata["deletionGracePeriodSeconds"] = 0;
      if (resource.has_generation) {
        metadata["generation"] = metadata.value("generation", 0) + 1;
      }
    }
    const ObjectPtr written = database_.swap(resource.bucket(), key, object, stays ? std::move(body) : json());
    if (!written) {
      continue;
    }
    if (!stays) {
      if (options.orphan) {
        collect(object->uid(), true);
      }
      gone(resource, *object);
    }
    return Removed{written, !stays};
  }
}

Outcome<std::string> Remover::remove(const Request& request, const Route& route, const Resource& resource) {
  const auto options = options_of(request);
  if (!options) {
    return refuse(options.error());
  }
  const auto removed = remove_one(resource, Bucket::key(route.object_namespace, route.name), *options);
  if (!removed) {
    return refuse(removed.error());
  }
  if (removed->gone && resource.group.empty() && resource.plural == "namespaces") {
    json body = removed->object->json(resource);  // as it was in its last moment
    body["metadata"]["deletionTimestamp"] = format_time(clock_.now());
    body["status"]["phase"] = "Terminating";
    return body.dump();
  }
  return removed->gone ? success(resource, *removed->object) : removed->object->text(resource, Form::kFull);
}

Outcome<std::string> Remover::remove_collection(const Request& request, const Route& route, const Resource& resource) {
  const auto options = options_of(request);
  const auto selection = list_options(request, resource, false, true);
  if (!options || !selection) {
    return refuse(options ? selection.error() : options.error());
  }
  const auto filter = filter_of(route, *selection);
  if (!filter) {
    return refuse(filter.error());
  }
  const auto page = database_.page(resource.bucket(), {.prefix = filter->prefix, .matches = [&](const Object& object) {
                                                         return filter->matches(object);
                                                       }});
  std::string items;
  for (const ObjectPtr& object : page->items) {
    const auto removed = remove_one(resource, Bucket::key(object->object_namespace(), object->name()), *options);
    if (removed) {
      items += (items.empty() ? "" : ",") + removed->object->text(resource, Form::kListItem);
    }
  }
  return R"({"kind":")" + resource.list_kind_name() + R"(","apiVersion":")" + resource.api_version() +
         R"(","metadata":{"resourceVersion":")" + std::to_string(database_.version()) + R"("},"items":[)" + items +
         "]}";
}

void Remover::gone(const Resource& resource, const Object& object) {
  collect(object.uid(), false);
  if (resource.group.empty() && resource.plural == "namespaces") {
    for (const auto& [bucket, key] : database_.contents(object.name())) {
      if (const auto contained = catalog_.get()->find_bucket(bucket)) {
        static_cast<void>(remove_one(*contained, key, {}));
      }
    }
  } else if (resource.group == "apiextensions.k8s.io") {
    const std::string plural = object.name().substr(0, object.name().find('.'));
    const std::string group = object.name().substr(std::min(plural.size() + 1, object.name().size()));
    remove_all_of(group + "/" + plural);
    catalog_.publish(catalog_.get()->without(group, plural));
  }
}

// What names `uid` as its owner goes when it has no other owner; with another one, or with `orphan`, it only loses the
// reference.
void Remover::collect(const std::string& uid, bool orphan) {
  for (const auto& [bucket, key] : database_.dependents(uid)) {
    const auto resource = catalog_.get()->find_bucket(bucket);
    ObjectPtr object = database_.get(bucket, key);
    while (resource && object) {
      json body = object->json(*resource);
      json& metadata = body["metadata"];
      json owners = json::array();
      for (const json& owner : metadata.value("ownerReferences", json::array())) {
        if (owner.value("uid", "") != uid) {
          owners.push_back(owner);
        }
      }
      if (owners.empty() && !orphan) {
        static_cast<void>(remove_one(*resource, key, {}));
        break;
      }
      if (owners.empty()) {
        metadata.erase("ownerReferences");
      } else {
        metadata["ownerReferences"] = std::move(owners);
      }
      if (database_.swap(bucket, key, object, std::move(body))) {
        break;
      }
      object = database_.get(bucket, key);
    }
  }
}

void Remover::remove_all_of(const std::string& bucket) {
  const auto resource = catalog_.get()->find_bucket(bucket);
  const auto page = database_.page(bucket, {});
  for (const ObjectPtr& object : resource&& page ? page->items : std::vector<ObjectPtr>()) {
    static_cast<void>(remove_one(*resource, Bucket::key(object->object_namespace(), object->name()), {}));
  }
}

}  // namespace sharder::apiserver
