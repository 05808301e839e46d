#include "tests/apiserver/writer.h"

#include <utility>

#include "base/rfc3339.h"
#include "tests/apiserver/body.h"
#include "tests/apiserver/patch.h"
#include "tests/apiserver/preparation.h"
#include "tests/apiserver/validation.h"

namespace sharder::apiserver {

using nlohmann::json;

namespace {

constexpr int kAttempts = 100;
constexpr std::size_t kLargestObject = 1'572'864;  // etcd's limit of a request

Outcome<void> check_place(const Route& route, const Resource& resource, json& object) {
  json& metadata = object["metadata"];
  const std::string object_namespace = metadata_string(object, "namespace");
  if (resource.namespaced) {
    if (!object_namespace.empty() && object_namespace != route.object_namespace) {
      return refuse(
          failure(400, "the namespace of the provided object does not match the namespace sent on the request"));
    }
    metadata["namespace"] = route.object_namespace;
  }
  const std::string name = metadata_string(object, "name");
  if (!route.name.empty() && !name.empty() && name != route.name) {
    return refuse(
        failure(400, "the name of the object (" + name + ") does not match the name on the URL (" + route.name + ")"));
  }
  if (!route.name.empty()) {
    metadata["name"] = route.name;
  }
  return {};
}

Outcome<bool> dry_run(const Request& request) {
  const std::string value = request.parameter("dryRun");
  if (!value.empty() && value != "All") {
    return refuse(failure(422, "dryRun: Unsupported value: \"" + value + "\": supported values: \"All\""));
  }
  return value == "All";
}

Outcome<void> check_fields(const Resource& resource, const json& object) {
  if (auto causes = wrong_fields(resource, object); !causes.empty()) {
    return refuse(invalid(resource, metadata_string(object, "name"), std::move(causes)));
  }
  if (resource.group == "apiextensions.k8s.io") {
    return check_definition(resource, object);
  }
  return {};
}

Outcome<void> check_size(const Object& object, const Resource& resource) {
  if (object.text(resource, Form::kFull).size() > kLargestObject) {
    return refuse(failure(500, "etcdserver: request is too large"));
  }
  return {};
}

}  // namespace

Outcome<Written> Writer::create(const Request& request, const Route& route, const Resource& resource) {
  auto body = parse_body(request);
  if (!body) {
    return refuse(body.error());
  }
  return create_object(request, route, resource, std::move(*body));
}

Outcome<Written> Writer::create_object(const Request& request, const Route& route, const Resource& resource,
                                       json object, bool apply) {
  if (auto wrong = check_write_options(request); !wrong) {
    return refuse(wrong.error());
  }
  auto checked = checked_object(std::move(object), resource);
  if (!checked) {
    return refuse(checked.error());
  }
  object = std::move(*checked);
  const auto dry = dry_run(request);
  if (!dry) {
    return refuse(dry.error());
  }
  const auto form = accepted_form(request.accept, false);
  if (!form) {
    return refuse(form.error());
  }
  if (auto wrong = check_place(route, resource, object); !wrong) {
    return refuse(wrong.error());
  }
  if (!metadata_string(object, "resourceVersion").empty()) {
    return refuse(failure(400, "resourceVersion should not be set on objects to be created"));
  }
  const auto catalog = catalog_.get();
  if (resource.namespaced && !database_.get("/namespaces", route.object_namespace)) {
    return refuse(not_found(*catalog->find("", "v1", "namespaces"), route.object_namespace));
  }
  prepare_create(resource, object, clock_.now());
  const FieldManager manager = manager_of(request, route, resource);
  const Schema& schema = catalog->schema(resource);
  if (apply) {
    auto applied = apiserver::apply(resource, schema, json::object(), object, manager, true);
    if (!applied) {
      return refuse(applied.error());
    }
    object = std::move(*applied);
  }
  json before = apply ? object : json::object();
  set_defaults(resource, object, clock_.now());
  AdmissionInput input{.resource = &resource,
                       .operation = "CREATE",
                       .object_namespace = route.object_namespace,
                       .name = metadata_string(object, "name"),
                       .object = std::move(object),
                       .dry_run = *dry,
                       .manager = request.parameter("fieldManager"),
                       .user = request.user};
  auto admitted = admission_.admit(std::move(input));
  if (!admitted) {
    return refuse(admitted.error());
  }
  object = std::move(*admitted);
  json& metadata = object["metadata"];
  const std::string prefix = metadata_string(object, "generateName");
  const bool generate = metadata_string(object, "name").empty() && !prefix.empty();
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (generate) {
      metadata["name"] = generated_name(prefix);
    }
    set_defaults(resource, object, clock_.now());
    if (auto wrong = check_fields(resource, object); !wrong) {
      return refuse(wrong.error());
    }
    if (attempt == 0) {
      if (apply) {
        set_defaults(resource, before, clock_.now());  // nobody's
      }
      note_update(schema, before, object, manager);
    }
    const std::string name = metadata_string(object, "name");
    const std::string key = Bucket::key(route.object_namespace, name);
    ObjectPtr stored;
    const Object draft(object, 0);
    if (auto wrong = check_size(draft, resource); !wrong) {
      return refuse(wrong.error());
    }
    if (*dry) {
      if (!database_.get(resource.bucket(), key)) {
        return Written{201, draft.text(resource, *form)};
      }
    } else {
      stored = database_.swap(resource.bucket(), key, nullptr, object);
    }
    if (stored) {
      note_definition(resource, object);
      return Written{201, stored->text(resource, *form)};
    }
    if (!generate) {
      return refuse(already_exists(resource, name));
    }
  }
  return refuse(already_exists(resource, prefix));
}

Outcome<Written> Writer::update(const Request& request, const Route& route, const Resource& resource) {
  if (auto wrong = check_write_options(request); !wrong) {
    return refuse(wrong.error());
  }
  auto body = parse_body(request);
  if (!body) {
    return refuse(body.error());
  }
  auto object = checked_object(std::move(*body), resource);
  if (!object) {
    return refuse(object.error());
  }
  if (auto wrong = check_place(route, resource, *object); !wrong) {
    return refuse(wrong.error());
  }
  const bool exists = database_.get(resource.bucket(), Bucket::key(route.object_namespace, route.name)) != nullptr;
  if (!exists && resource.create_on_update && route.subresource.empty()) {
    // Who expects a version expects the object to be there.
    if (!metadata_string(*object, "resourceVersion").empty()) {
      return refuse(not_found(resource, route.name));
    }
    return create_object(request, route, resource, std::move(*object));
  }
  return modify({.request = request, .route = route, .resource = resource, .put = true},
                [&](const json&) -> Outcome<json> { return *object; });
}

Outcome<Written> Writer::patch(const Request& request, const Route& route, const Resource& resource) {
  const std::string type = request.content_type.substr(0, request.content_type.find(';'));
  const auto patch = parse_body(request);
  if (!patch) {
    return refuse(patch.error());
  }
  const Write write{.request = request, .route = route, .resource = resource};
  const auto finished = [&](Outcome<json> patched) -> Outcome<json> {
    if (patched) {
      patched = checked_object(std::move(*patched), resource);
    }
    if (patched) {
      if (auto wrong = check_place(route, resource, *patched); !wrong) {
        return refuse(wrong.error());
      }
    }
    return patched;
  };
  if (auto wrong = check_write_options(request); !wrong) {
    return refuse(wrong.error());
  }
  if (type == "application/apply-patch+yaml") {
    return apply_patch(request, route, resource, *patch);
  }
  if (type == "application/merge-patch+json") {
    if (!patch->is_object()) {
      return refuse(failure(400, "error decoding patch: an object is expected"));
    }
    return modify(write, [&](const json& now) { return finished(merge_patch(now, *patch)); });
  }
  if (type == "application/json-patch+json") {
    return modify(write, [&](const json& now) { return finished(json_patch(now, *patch)); });
  }
  if (type == "application/strategic-merge-patch+json" && !resource.custom) {
    const Schema& schema = Schema::built_in();
    return modify(write, [&](const json& now) { return finished(strategic_patch(now, *patch, schema)); });
  }
  return refuse(failure(415,
                        "the body of the request was in an unknown format - accepted media types include: "
                        "application/json-patch+json, application/merge-patch+json, "
                        "application/apply-patch+yaml"));
}

FieldManager Writer::manager_of(const Request& request, const Route& route, const Resource& resource) const {
  return {.name = field_manager(request),
          .api_version = resource.api_version(),
          .subresource = route.subresource,
          .now = format_time(clock_.now())};
}

Outcome<Written> Writer::apply_patch(const Request& request, const Route& route, const Resource& resource,
                                     json applied) {
  if (!applied.is_object() || !applied.contains("apiVersion") || !applied.contains("kind")) {
    return refuse(failure(400, "error decoding patch: an object with apiVersion and kind is expected"));
  }
  auto checked = checked_object(std::move(applied), resource);
  if (!checked) {
    return refuse(checked.error());
  }
  if ((*checked)["metadata"].contains("managedFields")) {
    return refuse(failure(400, "metadata.managedFields must be nil"));
  }
  if (auto wrong = check_place(route, resource, *checked); !wrong) {
    return refuse(wrong.error());
  }
  const std::string key = Bucket::key(route.object_namespace, route.name);
  if (!database_.get(resource.bucket(), key) && route.subresource.empty()) {
    auto created = create_object(request, route, resource, *checked, true);
    if (created || created.error().reason != "AlreadyExists") {
      return created;
    }
  }
  const Write write{.request = request, .route = route, .resource = resource, .apply = true};
  return modify(write, [&](const json& now) {
    const auto catalog = catalog_.get();
    return apiserver::apply(resource, catalog->schema(resource), now, *checked, manager_of(request, route, resource),
                            request.flag("force"));
  });
}

Outcome<json> Writer::decide(const Write& write, const json& before, const Change& change) {
  auto wanted = change(before);
  if (!wanted) {
    return refuse(wanted.error());
  }
  auto after = prepare_update(write.resource, before, std::move(*wanted), write.route.subresource, write.put);
  if (!after) {
    return refuse(after.error());
  }
  set_defaults(write.resource, *after, clock_.now());
  AdmissionInput input{.resource = &write.resource,
                       .operation = "UPDATE",
                       .object_namespace = write.route.object_namespace,
                       .name = write.route.name,
                       .subresource = write.route.subresource,
                       .object = std::move(*after),
                       .old_object = before,
                       .dry_run = write.dry_run,
                       .manager = write.request.parameter("fieldManager"),
                       .user = write.request.user};
  const bool applied = write.apply;
  const json defaulted = applied ? input.object : json();
  auto admitted = admission_.admit(std::move(input));
  if (!admitted) {
    return refuse(admitted.error());
  }
  if (!same_content(before, *admitted)) {
    const auto catalog = catalog_.get();
    // What webhooks changed after an apply belongs to the manager as an update.
    note_update(catalog->schema(write.resource), applied ? defaulted : before, *admitted,
                manager_of(write.request, write.route, write.resource));
  }
  if (auto causes = wrong_changes(write.resource, before, *admitted); !causes.empty()) {
    return refuse(invalid(write.resource, write.route.name, std::move(causes)));
  }
  if (auto wrong = check_fields(write.resource, *admitted); !wrong) {
    return refuse(wrong.error());
  }
  return admitted;
}

Outcome<Written> Writer::modify(const Write& asked, const Change& change) {
  const auto dry = dry_run(asked.request);
  if (!dry) {
    return refuse(dry.error());
  }
  const auto form = accepted_form(asked.request.accept, false);
  if (!form) {
    return refuse(form.error());
  }
  Write write = asked;
  write.dry_run = *dry;
  write.form = *form;
  const std::string key = Bucket::key(write.route.object_namespace, write.route.name);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const ObjectPtr base = database_.get(write.resource.bucket(), key);
    if (!base) {
      return refuse(not_found(write.resource, write.route.name));
    }
    const json before = base->json(write.resource);
    auto after = decide(write, before, change);
    if (!after) {
      return refuse(after.error());
    }
    auto written = store(write, base, before, std::move(*after));
    if (!written || written->code != 0) {
      return written;
    }
  }
  return refuse(modified(write.resource, write.route.name));
}

// Code 0: somebody else was faster.
Outcome<Written> Writer::store(const Write& write, const ObjectPtr& base, const json& before, json after) {
  if (same_content(before, after)) {
    return Written{200, base->text(write.resource, write.form)};
  }
  const json& metadata = after["metadata"];
  const Object draft(after, base->version());
  if (auto wrong = check_size(draft, write.resource); !wrong) {
    return refuse(wrong.error());
  }
  if (write.dry_run) {
    return Written{200, draft.text(write.resource, write.form)};
  }
  const std::string key = Bucket::key(write.route.object_namespace, write.route.name);
  // The last finalizer is gone: so is the object.
  const bool over = metadata.contains("deletionTimestamp") && !metadata.contains("finalizers");
  const ObjectPtr stored = database_.swap(write.resource.bucket(), key, base, over ? json() : after);
  if (!stored) {
    return Written{0, {}};
  }
  if (over) {
    remover_.gone(write.resource, *base);
  } else {
    note_definition(write.resource, after);
  }
  return Written{200, stored->text(write.resource, write.form)};
}

void Writer::note_definition(const Resource& resource, const json& object) {
  if (resource.group == "apiextensions.k8s.io") {
    catalog_.publish(catalog_.get()->with(object));
  }
}

}  // namespace sharder::apiserver
