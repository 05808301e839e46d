#include "ops/access_reviewer.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/ascii.h"
#include "base/guarded.h"
#include "kube/client/resource.h"
#include "kube/codec/json.h"

namespace sharder::ops {
namespace {

using nlohmann::json;

// The token of "Bearer <token>", the scheme in any case (RFC 6750); "" for anything else.
std::string_view bearer_token(std::string_view authorization) {
  constexpr std::string_view kScheme = "bearer ";
  if (!equals_ignoring_case(authorization.substr(0, kScheme.size()), kScheme)) {
    return {};
  }
  const std::string_view token = authorization.substr(kScheme.size());
  return token.substr(0, token.find(' '));
}

// The key of a decision: hash of the token, then the path. nullopt when OpenSSL cannot hash.
std::optional<std::string> decision_key(std::string_view token, std::string_view path) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash;
  unsigned length = 0;
  if (EVP_Digest(token.data(), token.size(), hash.data(), &length, EVP_sha256(), nullptr) != 1) {
    return std::nullopt;
  }
  std::string key(reinterpret_cast<const char*>(hash.data()), length);
  return key += path;
}

// Decisions that are valid for a while. Used under a lock.
class Decisions {
 public:
  std::optional<Access> find(const std::string& key, SteadyTime now) const {
    const auto found = kept_.find(key);
    return found == kept_.end() || found->second.until <= now ? std::nullopt : std::optional(found->second.access);
  }

  void add(std::string key, Access access, SteadyTime now, SteadyTime until, std::size_t max) {
    if (kept_.size() >= max && !kept_.contains(key)) {
      std::erase_if(kept_, [now](const auto& entry) { return entry.second.until <= now; });
    }
    if (kept_.size() >= max && !kept_.contains(key)) {
      // Decisions against a caller end soonest: a flood of wrong tokens does not push out callers who are permitted.
      kept_.erase(std::ranges::min_element(kept_, {}, [](const auto& entry) { return entry.second.until; }));
    }
    kept_.insert_or_assign(std::move(key), Decision{access, until});
  }

 private:
  struct Decision {
    Access access;
    SteadyTime until;
  };
  std::map<std::string, Decision> kept_;
};

struct Shared {
  Decisions decisions;
  std::size_t reviews = 0;  // under way
  std::string problem;      // the one that was logged last, "" when the last review was answered
};

json review_object(const kube::Resource& resource, json spec) {
  return {{"apiVersion", resource.group + "/" + resource.version},
          {"kind", resource.kind},
          {"metadata", json::object()},
          {"spec", std::move(spec)}};
}

// The SubjectAccessReview's spec: the user whom a TokenReview's status named, with all that authorizers look at.
json subject_access(const json& token_review, const std::string& path) {
  json spec = {{"nonResourceAttributes", {{"path", path}, {"verb", "get"}}},
               {"user", kube::string_at(token_review, "/status/user/username")}};
  const json& user = kube::value_at(token_review, "/status/user");
  for (const char* const field : {"uid", "groups", "extra"}) {
    if (const auto found = user.find(field); found != user.end()) {
      spec[field] = *found;
    }
  }
  return spec;
}

// The error without the API server's text, which may quote the token of the review: only the status is logged.
Error loggable(const std::string& kind, Error error) {
  if (error.http_status != 0) {
    error.message =
        kind + ": " + std::string(to_string(error.code)) + " (HTTP " + std::to_string(error.http_status) + ")";
  }
  return error;
}

}  // namespace

struct AccessReviewer::State {
  State(kube::Api& a, const Clock& c, AccessReviewerOptions o, Logger l)
      : api(a), clock(c), options(o), log(std::move(l)) {}

  kube::Api& api;
  const Clock& clock;
  const AccessReviewerOptions options;
  Logger log;
  Guarded<Shared> shared;
};

// One caller's way through both reviews. Owned by the callback of the request that is under way.
struct AccessReviewer::Review {
  std::shared_ptr<State> state;
  std::string key;
  std::string path;
  Callback callback;

  Review(std::shared_ptr<State> s, std::string k, std::string_view p, Callback c)
      : state(std::move(s)), key(std::move(k)), path(p), callback(std::move(c)) {}
  ~Review() {
    state->shared.with([](Shared& shared) { --shared.reviews; });
  }
  Review(const Review&) = delete;
  Review& operator=(const Review&) = delete;

  static void send(std::unique_ptr<Review> self, const kube::Resource& resource, json spec,
                   void (*next)(std::unique_ptr<Review>, const json&)) {
    // Bytes that are no UTF-8 are replaced. The API server does not know a token with such bytes anyway.
    std::string review = review_object(resource, std::move(spec)).dump(-1, ' ', false, json::error_handler_t::replace);
    kube::Request request = kube::create_request(resource, "", std::move(review), "");
    request.timeout = self->state->options.review_timeout;
    kube::Api& api = self->state->api;
    api.send(std::move(request), [self = std::move(self), next, kind = resource.kind](auto answer) mutable {
      if (!answer) {
        return self->give_up(loggable(kind, std::move(answer.error())));
      }
      const auto body = kube::parse_json(answer->body);
      if (!body || !body->is_object()) {
        return self->give_up(
            {.code = ErrorCode::kInvalid, .message = kind + ": " + (body ? "no object" : body.error().message)});
      }
      next(std::move(self), *body);
    });
  }

  static void on_token_review(std::unique_ptr<Review> self, const json& answer) {
    if (!kube::bool_at(answer, "/status/authenticated")) {
      return self->decide(Access::kUnauthenticated);
    }
    json spec = subject_access(answer, self->path);
    send(std::move(self), kube::kSubjectAccessReviews, std::move(spec), on_access_review);
  }

  static void on_access_review(std::unique_ptr<Review> self, const json& answer) {
    self->decide(kube::bool_at(answer, "/status/allowed") ? Access::kAllowed : Access::kDenied);
  }

  void decide(Access access) {
    const SteadyTime now = state->clock.steady();
    const auto lasts = access == Access::kAllowed ? state->options.allowed_for : state->options.not_permitted_for;
    const std::string problem = state->shared.with([&](Shared& shared) {
      shared.decisions.add(key, access, now, now + lasts, state->options.max_decisions);
      return std::exchange(shared.problem, "");
    });
    if (!problem.empty()) {
      state->log.info("access to the metrics port is reviewed again");
    }
    callback(access);
  }

  // Not remembered: the next request tries again. Logged once for each problem.
  void give_up(const Error& error) {
    const bool is_new = state->shared.with([&](Shared& shared) {
      return error.code != ErrorCode::kCancelled && std::exchange(shared.problem, error.message) != error.message;
    });
    if (is_new) {
      state->log.warn("cannot review access to the metrics port", {{"error", error.message}});
    }
    callback(Access::kUnknown);
  }
};

AccessReviewer::AccessReviewer(kube::Api& api, const Clock& clock, AccessReviewerOptions options, const Logger& log)
    : state_(std::make_shared<State>(api, clock, options, log.named("ops"))) {}

void AccessReviewer::review(std::string_view authorization, std::string_view path, Callback callback) {
  const std::string_view token = bearer_token(authorization);
  if (token.empty()) {
    return callback(Access::kUnauthenticated);
  }
  auto key = decision_key(token, path);
  if (!key) {
    return callback(Access::kUnknown);
  }
  const SteadyTime now = state_->clock.steady();
  const auto known = state_->shared.with([&](Shared& shared) -> std::optional<Access> {
    if (const auto decided = shared.decisions.find(*key, now)) {
      return decided;
    }
    if (shared.reviews >= state_->options.max_reviews) {
      return Access::kUnknown;
    }
    ++shared.reviews;
    return std::nullopt;
  });
  if (known) {
    return callback(*known);
  }
  Review::send(std::make_unique<Review>(state_, std::move(*key), path, std::move(callback)), kube::kTokenReviews,
               {{"token", token}}, Review::on_token_review);
}

}  // namespace sharder::ops
