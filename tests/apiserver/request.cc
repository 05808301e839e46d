#include "tests/apiserver/request.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/base64.h"

namespace sharder::apiserver {

namespace {

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    if (end > 0) {
      parts.emplace_back(text.substr(0, end));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

std::string percent_decode(std::string_view text) {
  std::string plain;
  for (std::size_t at = 0; at < text.size(); ++at) {
    unsigned char byte = 0;
    const char* const digits = text.data() + at + 1;
    if (text[at] == '%' && at + 2 < text.size() && std::from_chars(digits, digits + 2, byte, 16).ptr == digits + 2) {
      plain += static_cast<char>(byte);
      at += 2;
    } else {
      plain += text[at];
    }
  }
  return plain;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') {
    text.remove_prefix(1);
  }
  while (!text.empty() && text.back() == ' ') {
    text.remove_suffix(1);
  }
  return text;
}

std::string verb_of(const Request& request, const Route& route) {
  if (request.method == "GET") {
    if (route.name.empty()) {
      return request.flag("watch") ? "watch" : "list";
    }
    return "get";
  }
  if (request.method == "DELETE") {
    return route.name.empty() ? "deletecollection" : "delete";
  }
  return request.method == "POST"    ? "create"
         : request.method == "PUT"   ? "update"
         : request.method == "PATCH" ? "patch"
                                     : "";
}

// The parameter as a number; 400 when it is something else.
Outcome<std::optional<std::uint64_t>> number_parameter(const Request& request, const std::string& name) {
  const std::string text = request.parameter(name);
  if (text.empty()) {
    return std::nullopt;
  }
  const auto value = number(text);
  if (!value) {
    return refuse(failure(400, "invalid " + name + ": \"" + text + "\" is no number"));
  }
  return value;
}

Status forbidden_option(std::string field, const std::string& why) {
  const Resource options{.group = "meta.k8s.io", .version = "v1", .plural = "listoptions", .kind = "ListOptions"};
  return invalid(options, "", {{"FieldValueForbidden", "Forbidden: " + why, std::move(field)}});
}

Outcome<void> check_version_match(const ListOptions& options, bool watch, bool streaming_lists) {
  if (options.initial_events) {
    if (!watch) {
      return refuse(forbidden_option("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    if (!streaming_lists) {
      return refuse(forbidden_option("sendInitialEvents",
                                     "sendInitialEvents is forbidden for watch unless the "
                                     "WatchList feature gate is enabled"));
    }
    if (options.version_match != "NotOlderThan") {
      return refuse(forbidden_option("resourceVersionMatch",
                                     "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
    }
    return {};
  }
  if (options.version_match.empty()) {
    return {};
  }
  if (watch) {
    return refuse(forbidden_option("resourceVersionMatch",
                                   "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"));
  }
  if (!options.version) {
    return refuse(forbidden_option("resourceVersionMatch",
                                   "resourceVersionMatch is forbidden unless resourceVersion is provided"));
  }
  if (!options.continue_token.empty()) {
    return refuse(
        forbidden_option("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"));
  }
  if (options.version_match != "Exact" && options.version_match != "NotOlderThan") {
    return refuse(forbidden_option("resourceVersionMatch", "supported values are Exact, NotOlderThan"));
  }
  if (options.version_match == "Exact" && *options.version == 0) {
    return refuse(forbidden_option("resourceVersionMatch",
                                   "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\""));
  }
  return {};
}

}  // namespace

std::string Request::parameter(const std::string& name) const {
  const auto found = query.find(name);
  return found == query.end() ? std::string() : found->second;
}

bool Request::flag(const std::string& name) const {
  const std::string value = parameter(name);
  return value == "true" || value == "1";
}

Request request_to(std::string method, std::string target) {
  Request request{.method = std::move(method), .target = std::move(target)};
  const std::string_view text = request.target;
  const std::size_t question = std::min(text.find('?'), text.size());
  request.path = percent_decode(text.substr(0, question));
  for (const std::string& pair : split(text.substr(std::min(question + 1, text.size())), '&')) {
    const std::size_t sign = std::min(pair.find('='), pair.size());
    request.query.emplace(percent_decode(pair.substr(0, sign)),
                          percent_decode(pair.substr(std::min(sign + 1, pair.size()))));
  }
  return request;
}

std::optional<Route> parse_route(const Request& request) {
  const std::vector<std::string> parts = split(request.path, '/');
  Route route;
  std::size_t at = 0;
  if (parts.size() > 2 && parts[0] == "api") {
    route.version = parts[1];
    at = 2;
  } else if (parts.size() > 3 && parts[0] == "apis") {
    route.group = parts[1];
    route.version = parts[2];
    at = 3;
  } else {
    return std::nullopt;
  }
  const bool in_namespace =
      parts[at] == "namespaces" && parts.size() > at + 2 && parts[at + 2] != "status" && parts[at + 2] != "finalize";
  if (in_namespace) {
    route.object_namespace = parts[at + 1];
    at += 2;
  }
  route.plural = parts[at];
  if (parts.size() > at + 1) {
    route.name = parts[at + 1];
  }
  if (parts.size() > at + 2) {
    route.subresource = parts[at + 2];
  }
  if (parts.size() > at + 3) {
    return std::nullopt;
  }
  route.verb = verb_of(request, route);
  return route;
}

Outcome<Form> accepted_form(std::string_view accept, bool list) {
  if (trim(accept).empty()) {
    return Form::kFull;
  }
  for (const std::string& clause : split(accept, ',')) {
    std::string type;
    std::string as;
    std::string version = "v1";
    for (const std::string& part : split(clause, ';')) {
      const std::string_view parameter = trim(part);
      if (type.empty()) {
        type = parameter;
      } else if (parameter.starts_with("as=")) {
        as = parameter.substr(3);
      } else if (parameter.starts_with("v=")) {
        version = parameter.substr(2);
      }
    }
    const bool is_json = type == "application/json" || type == "*/*" || type == "application/*";
    if (!is_json || as == "Table" || (!as.empty() && version != "v1")) {
      continue;
    }
    if (as.empty()) {
      return Form::kFull;
    }
    if (as == (list ? "PartialObjectMetadataList" : "PartialObjectMetadata")) {
      return Form::kMetadata;
    }
  }
  return refuse(failure(406, "only the following media types are accepted: application/json"));
}

std::string field_manager(const Request& request) {
  if (std::string manager = request.parameter("fieldManager"); !manager.empty()) {
    return manager;
  }
  const std::string agent = request.user_agent.substr(0, request.user_agent.find('/'));
  return agent.empty() ? "unknown" : agent.substr(0, 128);
}

Outcome<void> check_write_options(const Request& request) {
  const Resource options{.group = "meta.k8s.io", .version = "v1", .plural = "patchoptions", .kind = "PatchOptions"};
  constexpr std::size_t kLongest = 128;
  const bool apply = request.content_type.starts_with("application/apply-patch");
  const std::string manager = request.parameter("fieldManager");
  if (manager.size() > kLongest) {
    return refuse(
        invalid(options, "", {{"FieldValueTooLong", "Too long: may not be more than 128 bytes", "fieldManager"}}));
  }
  if (request.method == "PATCH" && apply && manager.empty()) {
    return refuse(
        invalid(options, "", {{"FieldValueRequired", "Required value: is required for apply patch", "fieldManager"}}));
  }
  if (request.method == "PATCH" && !apply && request.query.contains("force")) {
    return refuse(invalid(options, "",
                          {{"FieldValueForbidden", "Forbidden: may not be specified for non-apply patch", "force"}}));
  }
  return {};
}

Outcome<ListOptions> list_options(const Request& request, const Resource&, bool watch, bool streaming_lists) {
  ListOptions options{.label_selector = request.parameter("labelSelector"),
                      .field_selector = request.parameter("fieldSelector"),
                      .version_match = request.parameter("resourceVersionMatch"),
                      .continue_token = request.parameter("continue"),
                      .bookmarks = request.flag("allowWatchBookmarks")};
  const auto version = number_parameter(request, "resourceVersion");
  const auto limit = number_parameter(request, "limit");
  const auto timeout = number_parameter(request, "timeoutSeconds");
  for (const auto* parsed : {&version, &limit, &timeout}) {
    if (!*parsed) {
      return refuse(parsed->error());
    }
  }
  options.version = *version;
  options.limit = limit->value_or(0);
  options.timeout_seconds = *timeout;
  if (request.query.contains("sendInitialEvents")) {
    options.initial_events = request.flag("sendInitialEvents");
  }
  if (auto wrong = check_version_match(options, watch, streaming_lists); !wrong) {
    return refuse(wrong.error());
  }
  if (!options.continue_token.empty() && options.version.value_or(0) != 0) {
    return refuse(failure(400, "specifying resource version is not allowed when using continue"));
  }
  return options;
}

std::string encode(const ContinueToken& token) {
  nlohmann::json value = {{"v", "meta.k8s.io/v1"}, {"start", token.from}, {"left", token.remaining}};
  value["rv"] = token.version ? nlohmann::json(*token.version) : nlohmann::json(-1);
  std::string text = encode_base64(value.dump());
  text.erase(text.find_last_not_of('=') + 1);
  std::ranges::replace(text, '+', '-');  // all of it is safe in a query then
  std::ranges::replace(text, '/', '_');
  return text;
}

std::optional<ContinueToken> decode_token(std::string_view text) {
  std::string plain(text);
  std::ranges::replace(plain, '-', '+');
  std::ranges::replace(plain, '_', '/');
  plain.append((4 - plain.size() % 4) % 4, '=');
  const auto bytes = decode_base64(plain);
  if (!bytes) {
    return std::nullopt;
  }
  const auto value = nlohmann::json::parse(*bytes, nullptr, false);
  if (!value.is_object() || !value.contains("rv") || !value["rv"].is_number_integer() || !value.contains("start") ||
      !value["start"].is_string()) {
    return std::nullopt;
  }
  ContinueToken token{.from = value["start"].get<std::string>()};
  if (const auto version = value["rv"].get<std::int64_t>(); version >= 0) {
    token.version = static_cast<std::uint64_t>(version);
  }
  if (value.contains("left") && value["left"].is_number_unsigned()) {
    token.remaining = value["left"].get<std::uint64_t>();
  }
  return token;
}

}  // namespace sharder::apiserver
