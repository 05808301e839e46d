#include "kube/client/discovery.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "kube/codec/json.h"

namespace sharder::kube {

namespace {

const SystemClock kSystemClock;

// plural → Resource
using Table = std::map<std::string, Resource, std::less<>>;

// The versions of an APIGroup, the preferred one first. Shapes that no API server sends count as no versions.
std::vector<std::string> versions_of(const nlohmann::json& group) {
  std::vector<std::string> versions;
  if (std::string preferred = string_at(group, "/preferredVersion/version"); !preferred.empty()) {
    versions.push_back(std::move(preferred));
  }
  for (const nlohmann::json& entry : elements_of(value_at(group, "/versions"))) {
    std::string version = string_at(entry, "/version");
    if (!version.empty() && std::ranges::find(versions, version) == versions.end()) {
      versions.push_back(std::move(version));
    }
  }
  return versions;
}

// Adds the resources of an APIResourceList that `table` does not have yet.
void add_resources(const nlohmann::json& list, const std::string& group, const std::string& version, Table& table) {
  for (const nlohmann::json& entry : elements_of(value_at(list, "/resources"))) {
    std::string plural = string_at(entry, "/name");
    std::string kind = string_at(entry, "/kind");
    const nlohmann::json& namespaced = value_at(entry, "/namespaced");
    const bool is_subresource = plural.find('/') != std::string::npos;
    if (plural.empty() || kind.empty() || is_subresource || !namespaced.is_boolean()) {
      continue;
    }
    Resource resource{.group = group,
                      .version = version,
                      .plural = plural,
                      .kind = std::move(kind),
                      .namespaced = namespaced.get<bool>()};
    table.try_emplace(std::move(plural), std::move(resource));
  }
}

}  // namespace

// Everything happens on the API loop.
struct Discovery::Impl : std::enable_shared_from_this<Discovery::Impl> {
  struct Waiter {
    std::string plural;
    Callback callback;
  };
  struct Group {
    Table table;
    std::optional<SteadyTime> asked;  // when the table was made
    std::vector<Waiter> waiters;      // not empty: a round is under way
  };
  // One round of requests for a group.
  struct Round {
    std::string group;
    std::vector<std::string> versions;
    std::vector<nlohmann::json> lists;  // one for each version, null when it gave none
    std::size_t missing = 0;
    std::optional<Error> error;  // of the group, or of one of its versions
  };

  Impl(Api& api_in, const Clock& clock_in, Logger log_in) : api(api_in), clock(clock_in), log(std::move(log_in)) {}

  void resolve(std::string name, std::string plural, Callback callback, std::chrono::nanoseconds max_age) {
    Group& group = groups[name];
    if (group.waiters.empty() && group.asked) {
      const auto age = clock.steady() - *group.asked;
      const auto found = group.table.find(plural);
      if (found != group.table.end() ? age < max_age : age < kMinAge) {
        answer(group, name, {std::move(plural), std::move(callback)}, std::nullopt);
        return;
      }
    }
    group.waiters.push_back({std::move(plural), std::move(callback)});
    if (group.waiters.size() == 1) {
      begin(std::move(name));
    }
  }

  void begin(std::string name) {
    const auto round = std::make_shared<Round>();
    round->group = std::move(name);
    if (round->group.empty()) {
      ask_versions(round, {"v1"});
      return;
    }
    get("/apis/" + percent_encode(round->group), [this, round](Result<nlohmann::json> group) {
      if (group) {
        ask_versions(round, versions_of(*group));
      } else {
        if (group.error().code != ErrorCode::kNotFound) {
          round->error = std::move(group.error());
        }
        finish(*round);
      }
    });
  }

  void ask_versions(const std::shared_ptr<Round>& round, std::vector<std::string> versions) {
    round->versions = std::move(versions);
    round->lists.resize(round->versions.size());
    round->missing = round->versions.size();
    if (round->missing == 0) {
      finish(*round);
      return;
    }
    const std::string prefix = round->group.empty() ? "/api/" : "/apis/" + percent_encode(round->group) + "/";
    for (std::size_t i = 0; i < round->versions.size(); ++i) {
      get(prefix + percent_encode(round->versions[i]), [this, round, i](Result<nlohmann::json> list) {
        if (list) {
          round->lists[i] = *std::move(list);
        } else if (list.error().code != ErrorCode::kNotFound) {  // else the version has just gone
          round->error = std::move(list.error());
        }
        if (--round->missing == 0) {
          finish(*round);
        }
      });
    }
  }

  void get(std::string target, std::move_only_function<void(Result<nlohmann::json>)> then) {
    const std::string what = "discover " + target;
    api.send({.target = std::move(target)},
             [self = shared_from_this(), what, then = std::move(then)](Result<Response> response) mutable {
               if (!response) {
                 then(fail(what, std::move(response.error())));
                 return;
               }
               Result<nlohmann::json> json = parse_json(response->body);
               if (json && !json->is_object()) {
                 json = fail(ErrorCode::kInvalid, "not an object");
               }
               then(json ? std::move(json) : fail(what, std::move(json.error())));
             });
  }

  void finish(Round& round) {
    const SteadyTime now = clock.steady();
    // Groups that nobody serves are not remembered for ever.
    std::erase_if(groups, [&](const auto& entry) {
      const Group& other = entry.second;
      return other.waiters.empty() && other.table.empty() && other.asked && now - *other.asked > kMaxAge;
    });
    Group& group = groups[round.group];
    Table known = std::exchange(group.table, {});
    for (std::size_t i = 0; i < round.lists.size(); ++i) {
      add_resources(round.lists[i], round.group, round.versions[i], group.table);
    }
    if (round.error) {
      log.debug("discovery failed", {{"group", round.group}, {"error", round.error->message}});
      group.table.merge(known);
    } else {
      group.asked = now;
    }
    // The callbacks may resolve again, and change `groups`: they are called last, with copies.
    std::vector<std::pair<Callback, Result<Resource>>> answers;
    for (Waiter& waiter : std::exchange(group.waiters, {})) {
      answers.emplace_back(std::move(waiter.callback), look_up(group, round.group, waiter.plural, round.error));
    }
    for (auto& [callback, result] : answers) {
      callback(std::move(result));
    }
  }

  void answer(const Group& group, const std::string& name, Waiter waiter, const std::optional<Error>& error) {
    Result<Resource> result = look_up(group, name, waiter.plural, error);
    waiter.callback(std::move(result));
  }

  static Result<Resource> look_up(const Group& group, const std::string& name, const std::string& plural,
                                  const std::optional<Error>& error) {
    if (const auto found = group.table.find(plural); found != group.table.end()) {
      return found->second;
    }
    if (error) {
      return std::unexpected(*error);
    }
    return fail(ErrorCode::kNotFound, "the API server serves no resource \"" + plural + "\" in the " +
                                          (name.empty() ? "core group" : "group \"" + name + "\""));
  }

  Api& api;
  const Clock& clock;
  const Logger log;
  std::map<std::string, Group, std::less<>> groups;
};

Discovery::Discovery(Api& api, Logger log) : Discovery(api, kSystemClock, std::move(log)) {}
Discovery::Discovery(Api& api, const Clock& clock, Logger log)
    : impl_(std::make_shared<Impl>(api, clock, std::move(log))) {}
Discovery::~Discovery() = default;

void Discovery::resolve(std::string group, std::string resource, Callback callback, std::chrono::nanoseconds max_age) {
  impl_->api.loop().post(
      [impl = impl_, group = std::move(group), resource = std::move(resource), callback = std::move(callback),
       max_age]() mutable { impl->resolve(std::move(group), std::move(resource), std::move(callback), max_age); });
}

}  // namespace sharder::kube
