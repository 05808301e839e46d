#include "kube/client/discovery.h"

#include <doctest/doctest.h>

#include "tests/support/fake_api.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_executor.h"

using namespace sharder;
using namespace sharder::kube;
using namespace std::chrono_literals;

namespace {

constexpr const char* kCore = R"({"kind":"APIResourceList","groupVersion":"v1","resources":[
  {"name":"secrets","singularName":"secret","namespaced":true,"kind":"Secret","verbs":["list"]},
  {"name":"namespaces","namespaced":false,"kind":"Namespace"},
  {"name":"pods/status","namespaced":true,"kind":"Pod"}]})";
constexpr const char* kGroup = R"({"kind":"APIGroup","name":"g","versions":[
  {"groupVersion":"g/v2","version":"v2"},{"groupVersion":"g/v1","version":"v1"},{"groupVersion":"g/v1beta1","version":"v1beta1"}],
  "preferredVersion":{"groupVersion":"g/v1","version":"v1"}})";

std::string list_of(const std::string& name, const std::string& kind) {
  return R"({"resources":[{"name":")" + name + R"(","namespaced":true,"kind":")" + kind + R"("}]})";
}

struct Fixture {
  testing::FakeClock clock;
  testing::FakeExecutor loop{clock};
  testing::FakeApi api{loop};
  std::unique_ptr<Discovery> discovery = std::make_unique<Discovery>(api, clock, Logger::none());
  std::vector<std::string> answers;  // "g/v1 a A namespaced", or an error's message

  void resolve(const std::string& group, const std::string& plural) {
    discovery->resolve(group, plural, [this](Result<Resource> resource) {
      answers.push_back(resource ? resource->group + "/" + resource->version + " " + resource->plural + " " +
                                       resource->kind + (resource->namespaced ? " namespaced" : "")
                                 : std::string(to_string(resource.error().code)) + ": " + resource.error().message);
    });
    loop.run();
  }
  // Answers the oldest request, which is for `target`.
  void serve(const std::string& target, std::string body) { CHECK(api.answer(std::move(body)).target == target); }
  void serve_group() {
    serve("/apis/g", kGroup);
    REQUIRE(api.pending.size() == 3);
    serve("/apis/g/v1", list_of("a", "A"));
    serve("/apis/g/v2",
          R"({"resources":[{"name":"a","namespaced":false,"kind":"A2"},{"name":"b","namespaced":false,"kind":"B"}]})");
    serve("/apis/g/v1beta1", list_of("b", "Bbeta"));
  }
  std::vector<std::string> take() { return std::exchange(answers, {}); }
};

using Lines = std::vector<std::string>;

}  // namespace

TEST_CASE_FIXTURE(Fixture, "a core resource is found with one request, and then with none") {
  resolve("", "secrets");
  serve("/api/v1", kCore);
  CHECK(take() == Lines{"/v1 secrets Secret namespaced"});
  resolve("", "namespaces");
  CHECK(take() == Lines{"/v1 namespaces Namespace"});
  CHECK(api.pending.empty());
}

TEST_CASE_FIXTURE(Fixture, "the preferred version wins, else the first that serves the resource") {
  resolve("g", "a");
  serve_group();
  CHECK(take() == Lines{"g/v1 a A namespaced"});
  resolve("g", "b");
  CHECK(take() == Lines{"g/v2 b B"});
}

TEST_CASE_FIXTURE(Fixture, "resolves of one group share their requests") {
  resolve("g", "a");
  resolve("g", "b");
  resolve("g", "c");
  CHECK(api.pending.size() == 1);
  serve_group();
  CHECK(take() == Lines{"g/v1 a A namespaced", "g/v2 b B",
                        "not found: the API server serves no resource \"c\" in the group \"g\""});
}

TEST_CASE_FIXTURE(Fixture, "a subresource is no resource") {
  resolve("", "pods/status");
  serve("/api/v1", kCore);
  CHECK(take() == Lines{"not found: the API server serves no resource \"pods/status\" in the core group"});
}

TEST_CASE_FIXTURE(Fixture, "a resource that appears later is found, asked for at most every two seconds") {
  resolve("x.io", "a");
  api.fail({.code = ErrorCode::kNotFound, .message = "404"});
  CHECK(take() == Lines{"not found: the API server serves no resource \"a\" in the group \"x.io\""});
  loop.advance(1s);
  resolve("x.io", "a");
  CHECK(api.pending.empty());
  CHECK(take().size() == 1);
  loop.advance(1s);
  resolve("x.io", "a");
  serve("/apis/x.io", R"({"versions":[{"version":"v1"}]})");
  serve("/apis/x.io/v1", list_of("a", "A"));
  CHECK(take() == Lines{"x.io/v1 a A namespaced"});
}

TEST_CASE_FIXTURE(Fixture, "what is old is asked for again, and kept when that fails") {
  resolve("", "secrets");
  serve("/api/v1", kCore);
  take();
  loop.advance(10min);
  resolve("", "secrets");
  REQUIRE(api.pending.size() == 1);
  api.fail({.code = ErrorCode::kUnavailable, .message = "away"});
  CHECK(take() == Lines{"/v1 secrets Secret namespaced"});
  resolve("", "secrets");
  serve("/api/v1", list_of("other", "Other"));
  CHECK(take() == Lines{"not found: the API server serves no resource \"secrets\" in the core group"});
}

TEST_CASE_FIXTURE(Fixture, "an outage is the caller's error, and the API server is asked again at once") {
  resolve("g", "a");
  api.fail({.code = ErrorCode::kUnavailable, .message = "GET /apis/g: 503"});
  CHECK(take() == Lines{"unavailable: discover /apis/g: GET /apis/g: 503"});
  resolve("g", "b");
  serve("/apis/g", kGroup);
  serve("/apis/g/v1", list_of("a", "A"));
  api.fail({.code = ErrorCode::kTimeout, .message = "v2 hangs"});
  CHECK(take().empty());
  api.fail({.code = ErrorCode::kNotFound, .message = "v1beta1 has gone"});
  CHECK(take() == Lines{"timeout: discover /apis/g/v2: v2 hangs"});
  resolve("g", "a");
  serve("/apis/g", kGroup);
  api.fail({.code = ErrorCode::kNotFound, .message = "v1 has gone"});
  serve("/apis/g/v2", list_of("a", "A2"));
  serve("/apis/g/v1beta1", list_of("b", "B"));
  CHECK(take() == Lines{"g/v2 a A2 namespaced"});
}

TEST_CASE_FIXTURE(Fixture, "a version that fails hides nothing that another one serves, or served before") {
  const auto round = [&](const std::string& plural, bool v1_works, bool v2_works) {
    resolve("g", plural);
    serve("/apis/g", R"({"versions":[{"version":"v1"},{"version":"v2"}]})");
    for (const auto& [works, name, kind] : {std::tuple(v1_works, "a", "A"), std::tuple(v2_works, "b", "B")}) {
      if (works) {
        api.answer(list_of(name, kind));
      } else {
        api.fail({.code = ErrorCode::kUnavailable, .message = "503"});
      }
    }
    return take();
  };
  CHECK(round("b", false, true) == Lines{"g/v2 b B namespaced"});
  CHECK(round("a", false, true) == Lines{"unavailable: discover /apis/g/v1: 503"});
  CHECK(round("a", true, false) == Lines{"g/v1 a A namespaced"});
  CHECK(round("b", true, false) == Lines{"g/v2 b B namespaced"});
}

TEST_CASE_FIXTURE(Fixture, "nonsense is an error or nothing, never a crash") {
  for (const char* body : {"", "x", "[]", "7"}) {
    CAPTURE(body);
    resolve("", "secrets");
    serve("/api/v1", body);
    const Lines lines = take();
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].starts_with("invalid: discover /api/v1: "));
  }
  for (const char* body :
       {"{}", R"({"resources":{}})",
        R"({"resources":[1,{},{"name":"secrets"},{"name":"secrets","kind":"S","namespaced":"x"},{"name":1}]})"}) {
    CAPTURE(body);
    resolve("", "secrets");
    serve("/api/v1", body);
    CHECK(take().size() == 1);
    loop.advance(2s);
  }
  for (const char* body : {"{}", R"({"versions":[1,{"version":""}],"preferredVersion":[]})"}) {
    CAPTURE(body);
    resolve("g", "a");
    serve("/apis/g", body);
    CHECK(take() == Lines{"not found: the API server serves no resource \"a\" in the group \"g\""});
    loop.advance(2s);
  }
}

TEST_CASE_FIXTURE(Fixture, "groups that nobody serves are forgotten, those that are served are not") {
  resolve("", "secrets");
  serve("/api/v1", kCore);
  resolve("nobody.io", "a");
  api.fail({.code = ErrorCode::kNotFound, .message = "404"});
  loop.advance(11min);
  resolve("g", "a");
  serve_group();
  take();
  resolve("nobody.io", "a");
  CHECK(api.pending.size() == 1);
  api.fail({.code = ErrorCode::kUnavailable, .message = "away"});
  CHECK(take().size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "a callback may resolve again, and comes also when the Discovery has gone") {
  int calls = 0;
  discovery->resolve("", "secrets", [&](const Result<Resource>& first) {
    CHECK(first.has_value());
    discovery->resolve("", "namespaces", [&](const Result<Resource>& second) { calls += second.has_value() ? 1 : 0; });
  });
  loop.run();
  api.answer(kCore);
  loop.run();
  CHECK(calls == 1);
  resolve("g", "a");
  discovery.reset();
  serve_group();
  CHECK(take() == Lines{"g/v1 a A namespaced"});
}
