#include "ctl/cluster.h"

#include <algorithm>
#include <future>
#include <nlohmann/json.hpp>
#include <utility>

#include "kube/access/config.h"
#include "kube/client/client.h"
#include "kube/client/discovery.h"
#include "kube/codec/json.h"
#include "kube/codec/list_page.h"
#include "sharder/version.h"

namespace sharder::ctl {

namespace {

using nlohmann::json;

constexpr int kPageSize = 500;

std::unexpected<Error> explain(Error error, std::string_view verb, const std::string& resource) {
  const std::string what = std::string(verb) + " " + resource;
  switch (error.code) {
    case ErrorCode::kForbidden:
      return fail("not allowed to " + what, std::move(error));
    case ErrorCode::kUnauthorized:
      return fail("not authenticated, so not allowed to " + what, std::move(error));
    default:
      return fail(what, std::move(error));
  }
}

}  // namespace

std::string name_of(const kube::Resource& resource) {
  return to_string(ring::GroupResource{.group = resource.group, .resource = resource.plural});
}

Result<std::unique_ptr<Cluster>> Cluster::connect(const Options& options) {
  auto config = kube::load_config({.kubeconfig_flag = options.kubeconfig, .context = options.context});
  if (!config) {
    return std::unexpected(std::move(config.error()));
  }
  if (!options.as_user.empty()) {
    config->impersonate_user = options.as_user;
  }
  std::string default_namespace = options.object_namespace.value_or(config->default_namespace);
  auto client =
      kube::Client::create(*std::move(config), {.user_agent = "sharderctl/" + app::version()}, nullptr, Logger::none());
  if (!client) {
    return std::unexpected(std::move(client.error()));
  }
  return std::unique_ptr<Cluster>(
      new Cluster(std::move(default_namespace), options.request_timeout, *std::move(client)));
}

Cluster::Cluster(std::string default_namespace, std::chrono::milliseconds timeout, std::unique_ptr<kube::Client> client)
    : default_namespace_(std::move(default_namespace)),
      timeout_(timeout),
      client_(std::move(client)),
      discovery_(std::make_unique<kube::Discovery>(*client_, Logger::none())) {}

Cluster::~Cluster() = default;

std::chrono::milliseconds Cluster::timeout() const {
  using std::chrono::milliseconds;
  return deadline_ == SteadyTime::max()
             ? timeout_
             : std::clamp(std::chrono::ceil<milliseconds>(deadline_ - SystemClock().steady()), milliseconds(1),
                          timeout_);
}

Result<kube::Response> Cluster::send(kube::Request request, std::string_view verb, const std::string& resource) {
  request.timeout = timeout();
  std::promise<Result<kube::Response>> answer;
  client_->send(std::move(request), [&answer](Result<kube::Response> came) { answer.set_value(std::move(came)); });
  auto came = answer.get_future().get();
  return came ? std::move(came) : explain(std::move(came.error()), verb, resource);
}

Result<std::string> Cluster::call(kube::Request request, std::string_view verb, const std::string& resource) {
  auto answer = send(std::move(request), verb, resource);
  return answer ? Result<std::string>(std::move(answer->body)) : std::unexpected(std::move(answer.error()));
}

Result<json> Cluster::json_answer(kube::Request request, std::string_view verb, const kube::Resource& resource) {
  const auto answer = send(std::move(request), verb, name_of(resource));
  if (!answer) {
    return std::unexpected(answer.error());
  }
  auto parsed = kube::parse_json(answer->body);
  return parsed ? std::move(parsed) : explain(std::move(parsed.error()), verb, name_of(resource));
}

Result<kube::Resource> Cluster::resolve(const ring::GroupResource& resource) {
  auto answer = std::make_shared<std::promise<Result<kube::Resource>>>();
  auto coming = answer->get_future();
  discovery_->resolve(resource.group, resource.resource,
                      [answer](Result<kube::Resource> came) { answer->set_value(std::move(came)); });
  // Its requests have a timeout of their own.
  auto came = coming.wait_for(timeout()) == std::future_status::ready
                  ? coming.get()
                  : fail(ErrorCode::kTimeout, "no answer within the timeout");
  return came ? std::move(came) : explain(std::move(came.error()), "discover", to_string(resource));
}

Result<json> Cluster::get(const kube::Resource& resource, const std::string& object_namespace,
                          const std::string& name) {
  return json_answer(kube::get_request(resource, object_namespace, name), "get", resource);
}

Result<json> Cluster::get_metadata(const kube::Resource& resource, const std::string& object_namespace,
                                   const std::string& name) {
  kube::Request request = kube::get_request(resource, object_namespace, name);
  request.accept = kube::kMetadataOnlyWatch;
  return json_answer(std::move(request), "get", resource);
}

Result<json> Cluster::create(const kube::Resource& resource, const std::string& object_namespace, const json& object) {
  return json_answer(kube::create_request(resource, object_namespace, object.dump(), "sharderctl"), "create", resource);
}

Result<void> Cluster::patch(const kube::Resource& resource, const std::string& object_namespace,
                            const std::string& name, const json& body) {
  kube::Request request =
      kube::patch_request(resource, object_namespace, name, kube::kMergePatch, body.dump(), "sharderctl");
  request.accept = kube::kCompactMetadata;
  const auto answer = send(std::move(request), "patch", name_of(resource));
  return answer ? Result<void>() : std::unexpected(answer.error());
}

Result<void> Cluster::pages(const kube::Resource& resource, const std::string& object_namespace, const Selector& labels,
                            const Selector& fields, std::string_view accept,
                            const std::function<Result<std::string>(std::string&)>& read) {
  std::string continue_token;
  int limit = kPageSize;
  for (;;) {
    auto answer = send({.target = kube::path(resource, object_namespace, {}, {},
                                             {{"limit", std::to_string(limit)},
                                              {"labelSelector", labels},
                                              {"fieldSelector", fields},
                                              {"continue", continue_token}}),
                        .accept = std::string(accept),
                        .lane = kube::Lane::kList},
                       "list", name_of(resource));
    if (!answer) {
      Error& error = answer.error();
      if (error.code == ErrorCode::kGone && !error.continue_token.empty()) {
        continue_token = std::move(error.continue_token);  // goes on with the objects as they are now
      } else if (error.code == ErrorCode::kTooLarge && error.http_status == 0 && limit > 1) {
        limit /= 2;
      } else {
        return std::unexpected(std::move(error));
      }
      continue;
    }
    auto token = read(answer->body);
    if (!token) {
      return explain(std::move(token.error()), "list", name_of(resource));
    }
    if (token->empty()) {
      return {};
    }
    continue_token = *std::move(token);
  }
}

Result<void> Cluster::list(const kube::Resource& resource, const std::string& object_namespace, const Selector& labels,
                           const std::function<void(const json&)>& consumer, const Selector& fields) {
  return list_json(resource, object_namespace, labels, fields, "application/json", consumer);
}

Result<void> Cluster::list_whole_metadata(const kube::Resource& resource, const std::string& object_namespace,
                                          const Selector& labels, const std::function<void(const json&)>& consumer) {
  return list_json(resource, object_namespace, labels, {}, kube::kMetadataOnlyList, consumer);
}

Result<void> Cluster::list_json(const kube::Resource& resource, const std::string& object_namespace,
                                const Selector& labels, const Selector& fields, std::string_view accept,
                                const std::function<void(const json&)>& consumer) {
  return pages(resource, object_namespace, labels, fields, accept,
               [&consumer](std::string& body) -> Result<std::string> {
                 const auto page = kube::decode_list_page(body);
                 if (!page) {
                   return std::unexpected(page.error());
                 }
                 for (const std::string_view item : page->items) {
                   if (const auto object = kube::parse_json(item)) {
                     consumer(*object);
                   }
                 }
                 return page->continue_token;
               });
}

Result<void> Cluster::list_metadata(const kube::Resource& resource, const std::string& object_namespace,
                                    const Selector& labels,
                                    const std::function<void(const kube::ObjectMeta&)>& consumer) {
  kube::ObjectMetaDecoder decoder;
  return pages(resource, object_namespace, labels, {}, kube::kCompactMetadataList, [&](std::string& body) {
    return decoder.decode_list(body, [&consumer](const Result<kube::ObjectMeta>& object) {
      if (object) {
        consumer(*object);
      }
    });
  });
}

}  // namespace sharder::ctl
