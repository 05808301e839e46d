#include "tests/apiserver/server.h"

#include <stdexcept>
#include <thread>
#include <utility>

#include "base/base64.h"
#include "base/rfc3339.h"
#include "tests/apiserver/body.h"
#include "tests/apiserver/preparation.h"

namespace sharder::apiserver {

using nlohmann::json;

namespace {

constexpr std::string_view kFaultPath = "/-/faults";
constexpr std::chrono::seconds kValidity = std::chrono::hours(24 * 365);

bool is_public(const std::string& path) {
  return path == "/version" || path.starts_with("/healthz") || path.starts_with("/livez") ||
         path.starts_with("/readyz");
}

FaultMatch match_of(const json& object) {
  return {.method = object.value("method", ""),
          .verb = object.value("verb", ""),
          .path = object.value("path", ""),
          .user_agent = object.value("userAgent", ""),
          .whole_user_agent = object.value("wholeUserAgent", "")};
}

}  // namespace

ApiServer::ApiServer(ServerOptions options)
    : options_(std::move(options)),
      token_(random_uid()),
      authority_("embedded-api-server", kValidity),
      api_({.history = options_.history,
            .reading = {.streaming_lists = options_.streaming_lists, .bookmark_interval = options_.bookmark_interval},
            .services = options_.services,
            .token = token_}) {
  for (const json& definition : options_.definitions) {
    if (const auto added = api_.add(definition); !added) {
      throw std::runtime_error("definition refused: " + added.error().message);
    }
  }
  if (options_.audit_log) {
    audit_log_ = std::make_unique<AuditLog>(*options_.audit_log, options_.audit_level);
  }
  const testing::TestCertificate certificate = authority_.issue(
      {.common_name = "kube-apiserver", .dns_names = {"localhost", "kubernetes"}, .valid_for = kValidity});
  port_ = std::make_unique<HttpPort>(
      HttpPort::Tls{certificate.certificate_pem, certificate.private_key_pem, authority_.certificate_pem()},
      options_.port, [this](const Request& request, const Caller& caller) { return handle(request, caller); });
}

ApiServer::~ApiServer() {
  stop();
}

void ApiServer::stop() {
  faults_.stop();
  watches_.end([](const Request&) { return true; }, WatchStream::State::kEnded, "");
  port_->stop();
}

std::string ApiServer::kubeconfig() const {
  return "apiVersion: v1\nkind: Config\ncurrent-context: embedded\n"
         "clusters:\n- name: embedded\n  cluster:\n    server: " +
         url() + "\n    certificate-authority-data: " + encode_base64(authority_.certificate_pem()) +
         "\nusers:\n- name: admin\n  user:\n    token: " + token_ +
         "\ncontexts:\n- name: embedded\n  context:\n    cluster: embedded\n    user: admin\n    namespace: default\n";
}

testing::TestCertificate ApiServer::client_certificate(const std::string& user) const {
  return authority_.issue({.common_name = user, .organization = "system:masters", .valid_for = kValidity});
}

void ApiServer::expire_history() {
  api_.database().expire();
}

int ApiServer::cut_watches(const FaultMatch& match, std::optional<int> error, bool orderly) {
  const auto matches = [&](const Request& request) { return match.matches(request); };
  if (error) {
    return watches_.end(matches, WatchStream::State::kEnded, error_event(failure(*error, "injected fault")));
  }
  return watches_.end(matches, orderly ? WatchStream::State::kEnded : WatchStream::State::kCut, "");
}

void ApiServer::audit(const Request& request, int code, const std::string& answer,
                      std::chrono::system_clock::time_point received) {
  if (audit_log_) {
    audit_log_->write(request, code, answer, received);
  }
}

Reply ApiServer::handle(Request request, const Caller& caller) {
  const auto received = std::chrono::system_clock::now();
  request.user = caller.bearer_token == token_ ? "admin" : caller.certificate_name;
  if (request.user.empty() && !is_public(request.path)) {
    audit(request, 401, "", received);
    return {.answer = answer_of(failure(401, "Unauthorized"))};
  }
  if (request.path.starts_with(kFaultPath)) {
    return {.answer = administer(request)};
  }
  return handle_known(request, received);
}

Reply ApiServer::handle_known(const Request& request, std::chrono::system_clock::time_point received) {
  const Fate fate = faults_.decide(request);
  if (fate.latency > std::chrono::milliseconds(0)) {
    std::this_thread::sleep_for(fate.latency);
  }
  Reply reply{.cut = fate.cut};
  if (fate.cut == Fault::Cut::kBefore) {
    return reply;
  }
  reply.answer = fate.error ? answer_of(*fate.error) : api_.handle(request);
  if (reply.answer.watch) {
    reply.registration = watches_.add(reply.answer.watch, request);
    reply.frozen = [this, request] { return faults_.frozen(request); };
    reply.pause = [this, request] { return faults_.pause(request); };
    reply.finished = [this, request, received] { audit(request, 200, "", received); };
  } else {
    audit(request, reply.answer.code, reply.answer.body, received);
  }
  return reply;
}

Answer ApiServer::administer(const Request& request) {
  if (request.method == "POST") {
    const json body = json::parse(request.body, nullptr, false);
    return add_faults(body.is_array() ? body : json::array({body}));
  }
  if (request.method == "GET") {
    return {.body = faults_.to_json().dump()};
  }
  if (request.method == "DELETE" && request.path == kFaultPath) {
    faults_.clear();
    clock().thaw();
    return {.body = "{}"};
  }
  if (request.method == "DELETE") {
    const std::string id = request.path.substr(kFaultPath.size() + 1);
    const bool number = !id.empty() && id.size() < 9 && id.find_first_not_of("0123456789") == std::string::npos;
    return number && faults_.remove(std::stoi(id)) ? Answer{.body = "{}"} : answer_of(failure(404, "no such fault"));
  }
  return answer_of(failure(405, "POST, GET or DELETE"));
}

Answer ApiServer::add_faults(const json& body) {
  json ids = json::array();
  for (const json& object : body) {
    const auto id = add_fault(object);
    if (!id) {
      return answer_of(id.error());
    }
    ids.push_back(*id);
  }
  return {.body = json{{"ids", std::move(ids)}}.dump()};
}

Outcome<int> ApiServer::add_fault(const json& object) {
  const std::string kind = object.is_object() && object.contains("fault") && object["fault"].is_string()
                               ? object["fault"].get<std::string>()
                               : "";
  if (kind == "thaw") {
    faults_.thaw();
  } else if (kind == "expire") {
    expire_history();
  } else if (kind == "cutWatches") {
    const bool has_error = object.contains("error") && object["error"].is_number_integer();
    cut_watches(match_of(object), has_error ? std::optional(object["error"].get<int>()) : std::nullopt,
                object.value("orderly", false));
  } else if (kind == "freezeClock") {
    const std::string at = object.value("at", "");
    const auto time = parse_rfc3339(at);
    if (!at.empty() && !time) {
      return refuse(failure(400, "fault: at is no RFC 3339 time"));
    }
    clock().freeze(time);
  } else if (kind == "thawClock") {
    clock().thaw();
  } else {
    auto fault = Fault::from_json(object);
    return fault ? Outcome<int>(faults_.add(std::move(*fault))) : refuse(fault.error());
  }
  return 0;
}

}  // namespace sharder::apiserver
