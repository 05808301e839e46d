#include "shard/blocking_client.h"

#include <future>
#include <memory>
#include <string>
#include <utility>

#include "kube/codec/json.h"
#include "kube/codec/list_page.h"
#include "kube/codec/precondition.h"
#include "shard/watched_object.h"

namespace sharder::shard {

namespace {

constexpr std::string_view kPageSize = "500";

// Runs `start(callback)`, and waits for what the callback gets. The Api's deadlines end the wait.
template <class T, class Start>
Result<T> wait_for(Start start) {
  auto promise = std::make_shared<std::promise<Result<T>>>();
  auto answer = promise->get_future();
  start([promise](Result<T> result) { promise->set_value(std::move(result)); });
  return answer.get();
}

Result<kube::Precondition> precondition_of(const nlohmann::json& object) {
  auto precondition = kube::Precondition::of(resource_version_of(object));
  return precondition
             ? Result<kube::Precondition>(*std::move(precondition))
             : fail(ErrorCode::kInvalid,
                    to_string(name_of(object)) + ": it has no resourceVersion: read the object before it is changed");
}

}  // namespace

BlockingClient::BlockingClient(kube::Api& api, kube::Discovery& discovery, std::string field_manager,
                               std::function<bool()> may_write)
    : api_(api), discovery_(discovery), field_manager_(std::move(field_manager)), may_write_(std::move(may_write)) {}

Result<nlohmann::json> BlockingClient::get(const ResourceName& resource, const ObjectName& object) {
  const auto found = find(resource);
  return found ? read(kube::get_request(*found, object.object_namespace, object.name)) : std::unexpected(found.error());
}

Result<std::vector<nlohmann::json>> BlockingClient::list(const ResourceName& resource,
                                                         std::string_view object_namespace,
                                                         std::string_view label_selector) {
  const auto found = find(resource);
  if (!found) {
    return std::unexpected(found.error());
  }
  std::vector<nlohmann::json> objects;
  std::string continue_token;
  do {
    auto answer = send(
        {.target = kube::path(*found, object_namespace, {}, {},
                              {{"labelSelector", label_selector}, {"limit", kPageSize}, {"continue", continue_token}}),
         .lane = kube::Lane::kList});
    auto page = answer ? kube::decode_list_page(answer->body) : std::unexpected(std::move(answer).error());
    if (!page) {
      return fail("list " + to_string(resource), std::move(page).error());
    }
    for (const std::string_view item : page->items) {
      auto object = read_object(item, *found);
      if (!object) {
        return fail("list " + to_string(resource), std::move(object).error());
      }
      objects.push_back(*std::move(object));
    }
    continue_token = page->continue_token;
  } while (!continue_token.empty());
  return objects;
}

Result<nlohmann::json> BlockingClient::create(const ResourceName& resource, const nlohmann::json& object) {
  const auto found = find(resource);
  return found ? write(kube::create_request(*found, name_of(object).object_namespace, object.dump(), field_manager_))
               : std::unexpected(found.error());
}

Result<nlohmann::json> BlockingClient::update(const ResourceName& resource, const nlohmann::json& object) {
  return replace(resource, {}, object);
}

Result<nlohmann::json> BlockingClient::update_status(const ResourceName& resource, const nlohmann::json& object) {
  return replace(resource, "status", object);
}

Result<nlohmann::json> BlockingClient::patch(const ResourceName& resource, const nlohmann::json& object,
                                             const nlohmann::json& changes) {
  return merge(resource, {}, object, changes);
}

Result<nlohmann::json> BlockingClient::patch_status(const ResourceName& resource, const nlohmann::json& object,
                                                    const nlohmann::json& changes) {
  return merge(resource, "status", object, changes);
}

Result<nlohmann::json> BlockingClient::apply(const ResourceName& resource, const nlohmann::json& object, bool force) {
  const auto found = find(resource);
  const ObjectName name = name_of(object);
  return found ? write(kube::apply_request(*found, name.object_namespace, name.name, object.dump(), field_manager_,
                                           force))
               : std::unexpected(found.error());
}

Result<void> BlockingClient::remove(const ResourceName& resource, const nlohmann::json& object) {
  const auto found = find(resource);
  const auto precondition = precondition_of(object);
  if (!found || !precondition) {
    return std::unexpected(found ? precondition.error() : found.error());
  }
  const ObjectName name = name_of(object);
  const auto answer = write(kube::delete_request(*found, name.object_namespace, name.name,
                                                 kube::string_at(object, "/metadata/uid"), *precondition));
  return answer ? Result<void>() : std::unexpected(answer.error());
}

Result<kube::Resource> BlockingClient::find(const ResourceName& resource) {
  return wait_for<kube::Resource>(
      [&](auto callback) { discovery_.resolve(resource.group, resource.plural, std::move(callback)); });
}

Result<kube::Response> BlockingClient::send(kube::Request request) {
  return wait_for<kube::Response>([&](auto callback) { api_.send(std::move(request), std::move(callback)); });
}

Result<nlohmann::json> BlockingClient::read(kube::Request request) {
  const auto answer = send(std::move(request));
  if (!answer) {
    return std::unexpected(answer.error());
  }
  auto object = kube::parse_json(answer->body);
  if (object && object->is_object() && object->contains("metadata")) {
    (*object)["metadata"].erase("managedFields");
  }
  return object;
}

Result<nlohmann::json> BlockingClient::write(kube::Request request) {
  request.still_wanted = may_write_;
  if (!may_write_()) {
    return fail(ErrorCode::kCancelled, "the shard's Lease is not valid any more: nothing was sent");
  }
  return read(std::move(request));
}

Result<nlohmann::json> BlockingClient::replace(const ResourceName& resource, std::string_view subresource,
                                               const nlohmann::json& object) {
  const auto found = find(resource);
  const auto versioned = kube::VersionedObject::of(object);
  if (!found || !versioned) {
    return std::unexpected(found ? versioned.error() : found.error());
  }
  const ObjectName name = name_of(object);
  return write(kube::update_request(*found, name.object_namespace, name.name, subresource, *versioned, field_manager_));
}

Result<nlohmann::json> BlockingClient::merge(const ResourceName& resource, std::string_view subresource,
                                             const nlohmann::json& object, nlohmann::json changes) {
  const auto found = find(resource);
  const auto precondition = precondition_of(object);
  if (!found || !precondition) {
    return std::unexpected(found ? precondition.error() : found.error());
  }
  if (!changes.is_object()) {
    return fail(ErrorCode::kInvalid, "a merge patch of an object is an object");
  }
  changes["metadata"]["resourceVersion"] = precondition->resource_version();
  const ObjectName name = name_of(object);
  return write(kube::patch_request(*found, name.object_namespace, name.name, kube::kMergePatch, changes.dump(),
                                   field_manager_, subresource));
}

}  // namespace sharder::shard
