#include "tests/apiserver/api.h"

#include <utility>

#include "tests/apiserver/body.h"
#include "tests/apiserver/discovery.h"

namespace sharder::apiserver {

using nlohmann::json;

namespace {

Answer plain(int code, std::string text) {
  return {.code = code, .body = std::move(text), .content_type = "text/plain; charset=utf-8"};
}

Answer answer_of(Outcome<std::string> text) {
  return text ? Answer{.body = std::move(*text)} : answer_of(text.error());
}

Answer answer_of(Outcome<Written> written) {
  return written ? Answer{.code = written->code, .body = std::move(written->text)} : answer_of(written.error());
}

bool is_health(std::string_view path) {
  for (const std::string_view check : {"/healthz", "/livez", "/readyz"}) {
    if (path == check || (path.starts_with(check) && path.substr(check.size()).starts_with('/'))) {
      return true;
    }
  }
  return false;
}

Status method_not_allowed() {
  return failure(405, "the server does not allow this method on the requested resource");
}

}  // namespace

Answer answer_of(const Status& status) {
  return {.code = status.code, .body = status.to_json().dump(), .retry_after_seconds = status.retry_after_seconds};
}

Api::Api(Options options)
    : options_(std::move(options)),
      database_(options_.history),
      reader_(database_, options_.reading),
      remover_(database_, catalog_, clock_),
      admission_(database_, catalog_, options_.services),
      writer_(database_, catalog_, admission_, remover_, clock_) {
  catalog_.publish(Catalog::built_in());
  for (const char* name : {"default", "kube-system", "kube-public", "kube-node-lease"}) {
    static_cast<void>(add({{"apiVersion", "v1"}, {"kind", "Namespace"}, {"metadata", {{"name", name}}}}));
  }
}

Outcome<void> Api::add(json object) {
  const auto resource = catalog_.get()->find_kind(object.value("apiVersion", ""), object.value("kind", ""));
  if (!resource) {
    return refuse(failure(400, "no resource for " + object.value("apiVersion", "") + " " + object.value("kind", "")));
  }
  Request request{.method = "POST", .user_agent = "apiserver"};
  Route route{.verb = "create", .group = resource->group, .version = resource->version, .plural = resource->plural};
  if (resource->namespaced) {
    route.object_namespace = object.at("metadata").value("namespace", "default");
  }
  const auto written = writer_.create_object(request, route, *resource, std::move(object));
  return written ? Outcome<void>() : refuse(written.error());
}

Answer Api::handle(const Request& request) {
  if (is_health(request.path)) {
    return plain(200, "ok");
  }
  if (const auto route = parse_route(request)) {
    return handle_resource(request, *route);
  }
  if (request.method == "GET") {
    if (auto document = discovery_document(*catalog_.get(), request.path)) {
      return {.body = std::move(*document)};
    }
  }
  return answer_of(path_not_found());
}

Answer Api::handle_resource(const Request& request, const Route& route) {
  const auto resource = catalog_.get()->find(route.group, route.version, route.plural);
  if (!resource || (!route.subresource.empty() && !(route.subresource == "status" && resource->status_subresource))) {
    return answer_of(path_not_found());
  }
  const bool across = resource->namespaced && route.object_namespace.empty();  // all namespaces
  if ((!resource->namespaced && !route.object_namespace.empty()) || (across && !route.name.empty())) {
    return answer_of(path_not_found());
  }
  if (resource->virtual_only) {
    return route.verb == "create" ? review(request, *resource) : answer_of(method_not_allowed());
  }
  if (route.verb == "get") {
    return answer_of(reader_.get(request, route, *resource));
  }
  if (route.verb == "list") {
    return answer_of(reader_.list(request, route, *resource));
  }
  if (route.verb == "watch") {
    auto stream = reader_.watch(request, route, resource);
    return stream ? Answer{.watch = std::move(*stream)} : answer_of(stream.error());
  }
  if (route.verb == "delete" && route.subresource.empty()) {
    return answer_of(remover_.remove(request, route, *resource));
  }
  if (route.verb == "deletecollection" && !across) {
    return answer_of(remover_.remove_collection(request, route, *resource));
  }
  if (route.verb == "create" && route.name.empty() && !across) {
    return answer_of(writer_.create(request, route, *resource));
  }
  if (route.verb == "update" && !route.name.empty()) {
    return answer_of(writer_.update(request, route, *resource));
  }
  if (route.verb == "patch" && !route.name.empty()) {
    return answer_of(writer_.patch(request, route, *resource));
  }
  return answer_of(method_not_allowed());
}

Answer Api::review(const Request& request, const Resource& resource) const {
  auto body = parse_body(request);
  if (!body) {
    return answer_of(body.error());
  }
  auto object = checked_object(std::move(*body), resource);
  if (!object) {
    return answer_of(object.error());
  }
  const json spec = object->value("spec", json::object());
  if (resource.plural == "tokenreviews") {
    const bool known = spec.is_object() && spec.contains("token") && spec["token"] == options_.token;
    (*object)["status"] = {{"authenticated", known}, {"user", json::object()}};
    if (known) {
      (*object)["status"]["user"] = {{"username", "admin"}, {"groups", {"system:masters", "system:authenticated"}}};
    } else {
      (*object)["status"]["error"] = "the token is not known";
    }
  } else {
    (*object)["status"] = {{"allowed", true}, {"reason", "everything is allowed here"}};
  }
  (*object)["metadata"]["creationTimestamp"] = nullptr;
  return {.code = 201, .body = object->dump()};
}

}  // namespace sharder::apiserver
