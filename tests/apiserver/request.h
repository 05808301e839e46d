#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "tests/apiserver/object.h"
#include "tests/apiserver/status.h"

namespace sharder::apiserver {

// What came over the wire. A plain value.
struct Request {
  std::string method = {};
  std::string target = {};  // path and query as they were sent
  std::string path = {};    // percent-decoded, without the query
  std::multimap<std::string, std::string> query = {};
  std::string body = {};
  std::string content_type = {};
  std::string accept = {};
  std::string user_agent = {};
  std::string user = {};

  // The first value, or "".
  std::string parameter(const std::string& name) const;
  bool flag(const std::string& name) const;  // "true" or "1"
};

// A request without a body; `target` is taken apart.
Request request_to(std::string method, std::string target);

// Where a request goes: a path below /api or /apis, taken apart.
struct Route {
  std::string verb = {};  // get list watch create update patch delete deletecollection
  std::string group = {};
  std::string version = {};
  std::string plural = {};
  std::string object_namespace = {};
  std::string name = {};
  std::string subresource = {};
};

// nullopt when the path names no resource: discovery, health, nothing.
std::optional<Route> parse_route(const Request& request);

// The media type that the client prefers among those the server has. 406 when there is none.
Outcome<Form> accepted_form(std::string_view accept, bool list);

// The manager of the fields that a write changes: the parameter fieldManager, or the program in the User-Agent.
std::string field_manager(const Request& request);
// The parameters fieldManager and force: 422 where they make no sense.
Outcome<void> check_write_options(const Request& request);

// The parameters of lists and watches.
struct ListOptions {
  std::string label_selector = {};
  std::string field_selector = {};
  std::optional<std::uint64_t> version = {};  // 0: any
  std::string version_match = {};             // "", Exact, NotOlderThan
  std::uint64_t limit = 0;                    // 0: none
  std::string continue_token = {};
  std::optional<std::uint64_t> timeout_seconds = {};
  bool bookmarks = false;
  std::optional<bool> initial_events = {};
};
// 400 for parameters that are no numbers, 422 for those that exclude each other.
Outcome<ListOptions> list_options(const Request& request, const Resource& resource, bool watch, bool streaming_lists);

// A continue token: where a list goes on, and at which version; without one it goes on without consistency.
struct ContinueToken {
  std::optional<std::uint64_t> version = {};
  std::string from = {};        // the first key that may come
  std::uint64_t remaining = 0;  // how many objects were still to come
};
std::string encode(const ContinueToken& token);
std::optional<ContinueToken> decode_token(std::string_view text);

}  // namespace sharder::apiserver
