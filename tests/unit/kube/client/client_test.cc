#include "kube/client/client.h"

#include <doctest/doctest.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <atomic>
#include <future>
#include <mutex>
#include <vector>

#include "tests/support/call.h"
#include "tests/support/eventually.h"
#include "tests/unit/kube/http_server.h"
#include "tests/unit/kube/loopback.h"

namespace sharder::kube {
namespace {

using namespace std::chrono_literals;
using testing::call;
using testing::eventually;
using testing::HttpServer;
using testing::Loopback;

std::unique_ptr<Client> connect(const std::string& url, ClientOptions options = {},
                                prometheus::Registry* registry = nullptr) {
  ClusterConfig config;
  config.server = url;
  config.token = "t";
  auto client = Client::create(std::move(config), std::move(options), registry, Logger::none());
  REQUIRE(client);
  return *std::move(client);
}

// Answers each request with what it was, and remembers none.
void echo(const httplib::Request& request, httplib::Response& response) {
  std::string text = request.method + " " + request.target + "\n";
  for (const auto& [name, value] : request.headers) {
    if (name != "REMOTE_ADDR" && name != "REMOTE_PORT" && name != "LOCAL_ADDR" && name != "LOCAL_PORT") {
      text += name + ": " + value + "\n";
    }
  }
  response.set_content(text + "\n" + request.body, "text/plain");
}

bool has_line(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

// A watch's receiver. The API loop calls, the test looks.
class RecordingSink final : public StreamSink {
 public:
  void on_open() override { opened = true; }
  void on_data(std::string_view chunk) override {
    std::lock_guard lock(mutex_);
    text_ += chunk;
  }
  void on_close(std::optional<Error> reason) override {
    ++closed;
    end_.set_value(std::move(reason));
  }

  std::string text() const {
    std::lock_guard lock(mutex_);
    return text_;
  }
  std::optional<Error> wait_for_close() {
    auto future = end_.get_future();
    REQUIRE(future.wait_for(60s) == std::future_status::ready);
    return future.get();
  }

  std::atomic<bool> opened = false;
  std::atomic<int> closed = 0;

 private:
  mutable std::mutex mutex_;
  std::string text_;
  std::promise<std::optional<Error>> end_;
};

std::unique_ptr<Stream> open(Client& client, Request request, const std::shared_ptr<StreamSink>& sink) {
  std::promise<std::unique_ptr<Stream>> made;
  client.loop().post([&] { made.set_value(client.open_stream(std::move(request), sink)); });
  return made.get_future().get();
}

Request watch(const std::string& target = "/watch") {
  return {.target = target, .lane = Lane::kWatch};
}

TEST_CASE("each verb goes out with its headers and its body") {
  const HttpServer server(echo);
  const auto client = connect(server.url() + "/prefix/", {.user_agent = "sharder/1"});
  struct Case {
    Method method;
    const char* name;
    const char* body;
  };
  for (const Case& c : {Case{Method::kGet, "GET", ""}, Case{Method::kPost, "POST", "{}"},
                        Case{Method::kPut, "PUT", "{}"}, Case{Method::kPatch, "PATCH", "[]"},
                        Case{Method::kDelete, "DELETE", ""}, Case{Method::kDelete, "DELETE", "{\"p\":1}"}}) {
    CAPTURE(c.name);
    const auto answer = call(*client, {.method = c.method,
                                       .target = "/api/v1/x?a=b%2Fc",
                                       .body = c.body,
                                       .content_type = *c.body == '\0' ? "" : "application/test"});
    REQUIRE(answer);
    CHECK(answer->status == 200);
    CHECK(answer->body.starts_with(std::string(c.name) + " /prefix/api/v1/x?a=b%2Fc\n"));
    CHECK(answer->body.ends_with(std::string("\n\n") + c.body));
    CHECK(has_line(answer->body, "Accept: application/json"));
    CHECK(has_line(answer->body, "Authorization: Bearer t"));
    CHECK(has_line(answer->body, "User-Agent: sharder/1"));
    CHECK(has_line(answer->body, "Content-Type: application/test") == (*c.body != '\0'));
    CHECK(answer->body.find("Expect:") == std::string::npos);
  }
}

TEST_CASE("bodies of two megabytes go and come whole") {
  const HttpServer server(
      [](const auto& request, auto& response) { response.set_content(request.body, "text/plain"); });
  const auto client = connect(server.url());
  const std::string body(2U << 20U, 'x');
  const auto answer = call(*client, {.method = Method::kPost, .target = "/", .body = body});
  REQUIRE(answer);
  CHECK(answer->body == body);
}

TEST_CASE("impersonation stands in headers") {
  const HttpServer server(echo);
  ClusterConfig config;
  config.server = server.url();
  config.impersonate_user = "bob";
  config.impersonate_uid = "7";
  config.impersonate_groups = {"a", "b"};
  config.impersonate_extra = {{"example.com/x", "one"}, {"example.com/x", "two"}};
  const auto client = Client::create(config, {}, nullptr, Logger::none());
  REQUIRE(client);
  const auto answer = call(**client, {.target = "/"});
  REQUIRE(answer);
  for (const char* line :
       {"Impersonate-User: bob", "Impersonate-Uid: 7", "Impersonate-Group: a", "Impersonate-Group: b",
        "Impersonate-Extra-example.com%2Fx: one", "Impersonate-Extra-example.com%2Fx: two"}) {
    CAPTURE(line);
    CHECK(has_line(answer->body, line));
  }
}

TEST_CASE("a configuration that cannot work is an error that names its source") {
  const auto message = [](const auto& change) {
    ClusterConfig config;
    config.server = "https://a";
    config.source = "/k, context c";
    change(config);
    const auto client = Client::create(config, {}, nullptr, Logger::none());
    REQUIRE_FALSE(client);
    CHECK(client.error().code == ErrorCode::kInvalid);
    return client.error().message;
  };
  CHECK(message([](auto& c) { c.server = "ftp://a"; }) == "/k, context c: server: scheme \"ftp\" is not https or http");
  CHECK(message([](auto& c) { c.proxy_url = "ftp://a"; }) ==
        "/k, context c: proxy: scheme \"ftp\" is not http, https or socks5");
  CHECK(message([](auto& c) { c.ca_pem = "x"; }) == "/k, context c: certificate authority: no certificate in it");
  CHECK(message([](auto& c) { c.ca_file = "/none"; }) == "/k, context c: /none: No such file or directory");
  CHECK(message([](auto& c) { c.client_key_pem = "x"; }) == "/k, context c: client certificate: no certificate in it");
  CHECK(message([](auto& c) { c.token_file = "/none"; }) == "/k, context c: /none: No such file or directory");
  CHECK(message([](auto& c) { c.token = "a\r\nX: y"; }) == "/k, context c: token: control characters in it");
  CHECK(message([](auto& c) { c.impersonate_groups = {"g"}; }) ==
        "/k, context c: impersonation of groups, uid or extra needs a user");
  CHECK(message([](auto& c) { c.impersonate_user = "a\nb"; }) ==
        "/k, context c: impersonation: control characters in a name");
}

TEST_CASE("an error answer becomes a typed error") {
  const HttpServer server([](const auto&, auto& response) {
    response.status = 409;
    response.set_content(R"({"kind":"Status","reason":"AlreadyExists","message":"it is there"})", "application/json");
  });
  const auto client = connect(server.url());
  const auto answer = call(*client, {.method = Method::kPost, .target = "/api/v1/pods?x=secret", .body = "{}"});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == ErrorCode::kExists);
  CHECK(answer.error().http_status == 409);
  CHECK(answer.error().reason == "AlreadyExists");
  CHECK(answer.error().message == "POST /api/v1/pods: 409 Conflict: it is there");
}

TEST_CASE("what a server repeats of our credentials is in no error (design, 6.12)") {
  const HttpServer server([](const auto& request, auto& response) {
    response.status = 403;
    response.set_content("denied, Authorization was " + request.get_header_value("Authorization") + ", again " +
                             request.get_header_value("Authorization") + ", go away",
                         "text/plain");
  });
  const auto client_of = [&](ClusterConfig config) {
    config.server = server.url();
    auto client = Client::create(std::move(config), {}, nullptr, Logger::none());
    REQUIRE(client);
    return *std::move(client);
  };
  ClusterConfig token;
  token.token = "a-long-token";
  CHECK(call(*client_of(token), {.target = "/x"}).error().message ==
        "GET /x: 403 Forbidden: denied, Authorization was Bearer ..., again Bearer ..., go away");
  ClusterConfig basic;
  basic.username = "Aladdin";
  basic.password = "open sesame";
  CHECK(call(*client_of(basic), {.target = "/x"}).error().message ==
        "GET /x: 403 Forbidden: denied, Authorization was Basic ..., again Basic ..., go away");
}

TEST_CASE("a proxy's password is in no error (design, 6.12)") {
  for (const char* const proxy :
       {"http://user:QZQZQZ@127.0.0.1:", "https://user:QZQZQZ@127.0.0.1:", "socks5://user:QZQZQZ@127.0.0.1:"}) {
    CAPTURE(proxy);
    ClusterConfig config;
    config.server = "https://sharder.invalid:1";
    config.proxy_url = proxy + std::to_string(testing::closed_port());
    const auto client = Client::create(std::move(config), {}, nullptr, Logger::none());
    REQUIRE(client);
    const auto answer = call(**client, {.target = "/x", .timeout = 60s});
    REQUIRE_FALSE(answer);
    CHECK(answer.error().message.contains(" (proxy): "));
    CHECK_FALSE(answer.error().message.contains("QZ"));
  }
}

TEST_CASE("a refused connection says where to") {
  const auto port = testing::closed_port();
  const auto client = connect("http://127.0.0.1:" + std::to_string(port));
  const auto answer = call(*client, {.target = "/x"});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == ErrorCode::kUnavailable);
  CHECK(answer.error().message == "GET /x: connect to 127.0.0.1:" + std::to_string(port) + ": Connection refused");
}

TEST_CASE("a name without an address says so") {
  const auto client = connect("http://sharder.invalid:1");
  const auto answer = call(*client, {.target = "/x", .timeout = 60s});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == ErrorCode::kUnavailable);
  CHECK(answer.error().message == "GET /x: connect to sharder.invalid:1: no address found for this name");
}

TEST_CASE("a 503 with Retry-After is tried again, within the timeout") {
  std::atomic<int> requests = 0;
  const HttpServer server([&](const auto&, auto& response) {
    if (++requests < 3) {
      response.status = 503;
      response.set_header("Retry-After", "0");
    }
  });
  const auto client = connect(server.url());
  CHECK(call(*client, {.method = Method::kPatch, .target = "/x", .body = "{}"}));
  CHECK(requests == 3);
}

TEST_CASE("a request that is not wanted any more when its wait is over is not sent again") {
  std::atomic<int> requests = 0;
  const HttpServer server([&](const auto&, auto& response) {
    ++requests;
    response.status = 503;
    response.set_header("Retry-After", "0");
  });
  const auto client = connect(server.url());
  auto answer = call(*client, {.target = "/x", .still_wanted = [&] { return requests < 2; }});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == ErrorCode::kCancelled);
  CHECK(requests == 2);
  answer = call(*client, {.target = "/x", .still_wanted = [] { return false; }});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == ErrorCode::kCancelled);
  CHECK(requests == 2);
}

TEST_CASE("a Retry-After past the timeout comes back at once, for the caller to obey") {
  std::atomic<int> requests = 0;
  const HttpServer server([&](const auto&, auto& response) {
    ++requests;
    response.status = 429;
    response.set_header("Retry-After", "30");
  });
  const auto client = connect(server.url());
  const auto answer = call(*client, {.target = "/x"});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == ErrorCode::kUnavailable);
  CHECK(answer.error().http_status == 429);
  CHECK(answer.error().retry_after == 30s);
  CHECK(requests == 1);
}

TEST_CASE("a 503 without Retry-After is the caller's, a 429 without one counts as a second") {
  std::atomic<int> status = 503;
  std::atomic<int> requests = 0;
  const HttpServer server([&](const auto&, auto& response) {
    ++requests;
    response.status = status;
  });
  const auto client = connect(server.url());
  auto answer = call(*client, {.target = "/x"});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().retry_after == std::nullopt);
  CHECK(requests == 1);
  status = 429;
  answer = call(*client, {.target = "/x", .timeout = 900ms});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().retry_after == 1s);
  CHECK(requests == 2);
}

TEST_CASE("a server that stays silent costs the timeout, and the next request gets a new connection") {
  std::atomic<bool> healthy = false;
  Loopback server([&](int fd, int) {
    while (!testing::read_header(fd).empty()) {
      if (!healthy) {
        testing::stay_silent(fd);
        return;
      }
      testing::write_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
  });
  const auto client = connect("http://" + server.address());
  const auto begun = std::chrono::steady_clock::now();
  const auto answer = call(*client, {.target = "/x", .timeout = 200ms});
  CHECK(std::chrono::steady_clock::now() - begun < 10s);  // a slow machine may be late
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == ErrorCode::kTimeout);
  CHECK(answer.error().message == "GET /x: no answer within 0.2 s");
  healthy = true;
  CHECK(call(*client, {.target = "/x"})->body == "ok");
  CHECK(call(*client, {.target = "/x"})->body == "ok");
  CHECK(server.connections() == 2);
}

TEST_CASE("an answer that is cut off is an error, not a short answer") {
  const char* const answers[] = {
      "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
      "HTTP/1.1 200 OK\r\nContent-Le",
      "",
      "garbage\r\n\r\n",
  };
  for (const char* const text : answers) {
    CAPTURE(text);
    Loopback server([&](int fd, int) {
      testing::read_header(fd);
      testing::write_all(fd, text);
    });
    const auto client = connect("http://" + server.address());
    const auto answer = call(*client, {.method = Method::kPatch, .target = "/x", .body = ""});
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == ErrorCode::kUnavailable);
    CHECK(answer.error().message.starts_with("PATCH /x: "));
    CHECK(server.connections() == 1);  // a write is not sent twice
  }
}

TEST_CASE("a write whose connection is lost is not sent anew, a read is") {
  std::atomic<int> came = 0;
  Loopback server([&](int fd, int) {
    for (std::string header; !(header = testing::read_header(fd)).empty();) {
      ++came;
      if (!header.starts_with("GET /first ") && came < 3) {
        return;  // the connection was used before, and ends without a byte of an answer
      }
      testing::write_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
  });
  const auto client = connect("http://" + server.address());
  REQUIRE(call(*client, {.target = "/first"}));
  SUBCASE("write") {
    const auto answer = call(*client, {.method = Method::kPost, .target = "/x", .body = "{}"});
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == ErrorCode::kUnavailable);
    CHECK(answer.error().message == "POST /x: the connection was lost before the answer came");
    CHECK(came == 2);
  }
  SUBCASE("read") {
    CHECK(call(*client, {.target = "/x"}));
    CHECK(came == 3);
  }
}

TEST_CASE("an answer past 32 MiB is too large") {
  const HttpServer server([](const auto&, auto& response) {
    response.set_chunked_content_provider("text/plain", [sent = std::size_t{0}](std::size_t, auto& sink) mutable {
      static const std::string kPiece(1U << 20U, 'x');
      if (sent >= (40U << 20U)) {
        sink.done();
        return true;
      }
      sent += kPiece.size();
      return sink.write(kPiece.data(), kPiece.size());
    });
  });
  const auto client = connect(server.url());
  const auto answer = call(*client, {.target = "/x", .timeout = 60s, .lane = Lane::kList});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == ErrorCode::kTooLarge);
  CHECK(answer.error().message == "GET /x: the answer is larger than 32 MiB");
}

TEST_CASE("of an endless error page only so much is read as is needed") {
  const HttpServer server([](const auto&, auto& response) {
    response.status = 500;
    response.set_content(std::string(3U << 20U, 'x'), "text/plain");
  });
  const auto client = connect(server.url());
  const auto answer = call(*client, {.target = "/x"});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().http_status == 500);
  CHECK(answer.error().message.size() < 1200);
}

TEST_CASE("many requests at a time are all answered, once each") {
  std::atomic<int> served = 0;
  Loopback server([&](int fd, int) {
    for (std::string header; !(header = testing::read_header(fd)).empty(); ++served) {
      const std::string target = header.substr(4, header.find(' ', 4) - 4);
      testing::write_all(fd,
                         "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(target.size()) + "\r\n\r\n" + target);
    }
  });
  constexpr int kRequests = 500;
  std::atomic<int> right = 0;
  std::atomic<int> answered = 0;
  const auto client = connect("http://" + server.address());
  for (int i = 0; i < kRequests; ++i) {
    client->send({.target = "/" + std::to_string(i), .timeout = 60s, .lane = i % 2 == 0 ? Lane::kMove : Lane::kList},
                 [&, i](const Result<Response>& answer) {
                   right += answer && answer->body == "/" + std::to_string(i) ? 1 : 0;
                   ++answered;
                 });
  }
  REQUIRE(eventually([&] { return answered == kRequests; }));
  CHECK(right == kRequests);
  CHECK(served == kRequests);
  CHECK(server.connections() <= 256);  // two lanes, 128 each
}

TEST_CASE("without TLS no request waits for another's answer, from the first ones on") {
  constexpr int kWatches = 40, kLists = 20, kMoves = 100, kAll = kWatches + kLists + kMoves;
  std::atomic<int> came = 0;
  Loopback server([&](int fd, int) {
    testing::read_header(fd);
    ++came;
    if (eventually([&] { return came >= kAll; })) {
      testing::write_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
  });
  std::atomic<int> right = 0, wrong = 0;
  const auto client = connect("http://" + server.address());
  for (int i = 0; i < kAll; ++i) {
    const Lane lane = i < kWatches ? Lane::kWatch : i < kWatches + kLists ? Lane::kList : Lane::kMove;
    client->send({.target = "/", .timeout = 60s, .lane = lane},
                 [&](const Result<Response>& answer) { answer ? ++right : ++wrong; });
  }
  CHECK(eventually([&] { return right == kAll || wrong > 0; }));
  CHECK(wrong == 0);
  CHECK(server.connections() == kAll);
}

TEST_CASE("a callback may send the next request") {
  const HttpServer server(echo);
  const auto client = connect(server.url());
  std::promise<bool> done;
  client->send({.target = "/1"}, [&](const Result<Response>&) {
    client->send({.target = "/2"}, [&](const Result<Response>& second) { done.set_value(second.has_value()); });
  });
  auto future = done.get_future();
  REQUIRE(future.wait_for(60s) == std::future_status::ready);
  CHECK(future.get());
}

TEST_CASE("the rate limit holds some lanes back, but neither take-overs nor watches") {
  const HttpServer server(echo);
  const auto client = connect(server.url(), {.qps = 0.001, .burst = 1});
  CHECK(call(*client, {.target = "/x"}));
  const auto refused = call(*client, {.target = "/x"});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::kUnavailable);
  CHECK(refused.error().message == "GET /x: the client-side rate limit does not allow it within 10 s");
  CHECK(call(*client, {.target = "/x", .lane = Lane::kUrgent}));
  CHECK(call(*client, {.target = "/x", .lane = Lane::kWatch}));
}

TEST_CASE("what the rate limit holds back is sent when its turn comes") {
  const HttpServer server(echo);
  std::atomic<int> answered = 0;
  const auto client = connect(server.url(), {.qps = 50, .burst = 1});
  for (int i = 0; i < 5; ++i) {
    client->send({.target = "/x"}, [&](const Result<Response>& answer) { answered += answer ? 1 : 0; });
  }
  CHECK(eventually([&] { return answered == 5; }));
}

TEST_CASE("the client's end cancels what is under way, each callback is called once") {
  Loopback server([](int fd, int) { testing::stay_silent(fd); });
  auto client = connect("http://" + server.address(), {.qps = 0.01, .burst = 1});
  std::vector<ErrorCode> codes;
  const auto record = [&](const Result<Response>& answer) { codes.push_back(answer.error().code); };
  client->send({.target = "/in-flight", .timeout = 600s}, [&](const Result<Response>& answer) {
    record(answer);
    client->send({.target = "/again"}, record);
  });
  client->send({.target = "/waiting", .timeout = 600s}, record);
  const auto sink = std::make_shared<RecordingSink>();
  const auto stream = open(*client, watch(), sink);
  REQUIRE(eventually([&] { return server.connections() == 2; }));
  Client* const gone = client.release();
  client.reset(gone);
  std::default_delete<Client>()(client.get());  // the callbacks still use `client`
  static_cast<void>(client.release());
  CHECK(codes == std::vector(3, ErrorCode::kCancelled));
  CHECK(sink->wait_for_close()->code == ErrorCode::kCancelled);
  stream->cancel();  // a handle may outlive the client
}

TEST_CASE("a stream delivers as the server sends, and ends in order") {
  std::promise<void> go_on;
  auto may_go_on = go_on.get_future().share();
  const HttpServer server([may_go_on](const auto&, auto& response) {
    response.set_chunked_content_provider("application/json", [may_go_on, step = 0](std::size_t, auto& sink) mutable {
      if (step++ == 0) {
        return sink.write("one", 3);
      }
      may_go_on.wait_for(60s);
      sink.write("two", 3);
      sink.done();
      return true;
    });
  });
  const auto client = connect(server.url());
  const auto sink = std::make_shared<RecordingSink>();
  const auto stream = open(*client, watch(), sink);
  REQUIRE(eventually([&] { return sink->text() == "one"; }));
  CHECK(sink->opened);
  CHECK(sink->closed == 0);
  go_on.set_value();
  CHECK_FALSE(sink->wait_for_close());
  CHECK(sink->text() == "onetwo");
}

TEST_CASE("an open stream outlives the timeout of its header") {
  Loopback server([](int fd, int) {
    testing::read_header(fd);
    testing::write_all(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    std::this_thread::sleep_for(500ms);
    testing::write_all(fd, "4\r\nlate\r\n0\r\n\r\n");
    testing::stay_silent(fd);
  });
  const auto client = connect("http://" + server.address());
  const auto sink = std::make_shared<RecordingSink>();
  Request request = watch();
  request.timeout = 300ms;
  const auto stream = open(*client, request, sink);
  CHECK_FALSE(sink->wait_for_close());
  CHECK(sink->text() == "late");
}

TEST_CASE("a stream whose header does not come ends with a timeout") {
  Loopback server([](int fd, int) { testing::stay_silent(fd); });
  const auto client = connect("http://" + server.address());
  const auto sink = std::make_shared<RecordingSink>();
  Request request = watch("/watch?secret");
  request.timeout = 100ms;
  const auto stream = open(*client, request, sink);
  const auto reason = sink->wait_for_close();
  REQUIRE(reason);
  CHECK(reason->code == ErrorCode::kTimeout);
  CHECK(reason->message == "GET /watch: no answer within 0.1 s");
  CHECK_FALSE(sink->opened);
}

TEST_CASE("a stream that the server does not open ends with its error, one that is cut with a lost connection") {
  std::atomic<bool> refuse = true;
  Loopback server([&](int fd, int) {
    testing::read_header(fd);
    testing::write_all(fd, refuse ? "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"
                                  : "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
  });
  const auto client = connect("http://" + server.address());
  const auto refused = std::make_shared<RecordingSink>();
  const auto first = open(*client, watch(), refused);
  CHECK(refused->wait_for_close()->code == ErrorCode::kGone);
  CHECK_FALSE(refused->opened);
  refuse = false;
  const auto cut = std::make_shared<RecordingSink>();
  const auto second = open(*client, watch(), cut);
  CHECK(cut->wait_for_close()->code == ErrorCode::kUnavailable);
  CHECK(cut->opened);
  CHECK(cut->text() == "half");
}

TEST_CASE("a cancelled stream is closed once, and shows nothing more") {
  std::atomic<bool> gone = false;
  Loopback server([&](int fd, int) {
    testing::read_header(fd);
    testing::write_all(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
    testing::stay_silent(fd);
    gone = true;
  });
  const auto client = connect("http://" + server.address());
  const auto sink = std::make_shared<RecordingSink>();
  const auto stream = open(*client, watch(), sink);
  REQUIRE(eventually([&] { return sink->text() == "one"; }));
  std::promise<int> closed_in_call;
  client->loop().post([&] {
    stream->cancel();
    closed_in_call.set_value(sink->closed);
    stream->cancel();
  });
  CHECK(closed_in_call.get_future().get() == 0);  // not from within cancel()
  CHECK(sink->wait_for_close()->code == ErrorCode::kCancelled);
  CHECK(eventually([&] { return gone.load(); }));
  CHECK(sink->closed == 1);
}

TEST_CASE("a stream cancelled from its own data is closed as well") {
  const HttpServer server([](const auto&, auto& response) { response.set_content("data", "text/plain"); });
  const auto client = connect(server.url());
  struct Sink final : StreamSink {
    void on_open() override {}
    void on_data(std::string_view) override { stream->cancel(); }
    void on_close(std::optional<Error> error) override { end.set_value(std::move(error)); }
    std::unique_ptr<Stream> stream;
    std::promise<std::optional<Error>> end;
  };
  const auto sink = std::make_shared<Sink>();
  client->loop().post([&] { sink->stream = client->open_stream(watch(), sink); });
  auto future = sink->end.get_future();
  REQUIRE(future.wait_for(60s) == std::future_status::ready);
  // The answer was complete in the same moment, or the cancel came first: closed once in any case.
  const auto reason = future.get();
  CHECK((!reason || reason->code == ErrorCode::kCancelled));
}

TEST_CASE("lanes have connections of their own") {
  Loopback server([](int fd, int) {
    while (!testing::read_header(fd).empty()) {
      testing::write_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
  });
  const auto client = connect("http://" + server.address());
  for (const Lane lane : {Lane::kUrgent, Lane::kGeneral, Lane::kList, Lane::kWatch, Lane::kMove}) {
    CHECK(call(*client, {.target = "/", .lane = lane}));
    CHECK(call(*client, {.target = "/", .lane = lane}));
  }
  CHECK(server.connections() == 5);
}

TEST_CASE("a 401 is tried once more with the token that lies in the file now") {
  const testing::TempFolder folder;
  std::atomic<int> refused = 0;
  const HttpServer server([&](const auto& request, auto& response) {
    if (request.get_header_value("Authorization") != "Bearer new") {
      ++refused;
      response.status = 401;
    }
  });
  ClusterConfig config;
  config.server = server.url();
  config.token_file = folder.write("token", "old");
  const auto client = Client::create(config, {}, nullptr, Logger::none());
  REQUIRE(client);
  const auto answer = call(**client, {.target = "/x"});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == ErrorCode::kUnauthorized);
  CHECK(refused == 1);  // the same token again would have been in vain
  folder.write("token", "new");
  CHECK(call(**client, {.target = "/x"}));
  CHECK(call(**client, {.target = "/x"}));
  CHECK(refused == 2);
}

TEST_CASE("an exec plugin's token is used, and its failure is the request's error") {
  const HttpServer server(echo);
  const testing::TempFolder folder;
  const auto script = [&](const std::string& text) {
    return ExecPlugin{.command = "sh",
                      .args = {"-c", text},
                      .env = {},
                      .api_version = "client.authentication.k8s.io/v1",
                      .install_hint = "log in first",
                      .provide_cluster_info = false,
                      .cluster_extension = {}};
  };
  ClusterConfig config;
  config.server = server.url();
  config.exec = script(
      R"(echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"p"}}')");
  const auto good = Client::create(config, {}, nullptr, Logger::none());
  REQUIRE(good);
  CHECK(has_line(call(**good, {.target = "/", .timeout = 60s})->body, "Authorization: Bearer p"));

  config.exec = script("echo expired >&2; exit 4");
  const auto bad = Client::create(config, {}, nullptr, Logger::none());
  REQUIRE(bad);
  const auto answer = call(**bad, {.target = "/x", .timeout = 60s});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == ErrorCode::kUnauthorized);
  CHECK(answer.error().message == "GET /x: credentials: exec plugin sh: exit code 4 (log in first)");
}

TEST_CASE("a slow exec plugin holds up no loop, only its requests until their deadline") {
  const HttpServer server(echo);
  ClusterConfig config;
  config.server = server.url();
  config.exec = ExecPlugin{.command = "sleep",
                           .args = {"600"},
                           .env = {},
                           .api_version = "client.authentication.k8s.io/v1",
                           .install_hint = {},
                           .provide_cluster_info = false,
                           .cluster_extension = {}};
  const auto client = Client::create(config, {}, nullptr, Logger::none());
  REQUIRE(client);
  const auto answer = call(**client, {.target = "/x", .timeout = 200ms});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == ErrorCode::kTimeout);
  CHECK(answer.error().message == "GET /x: not sent within 0.2 s");
}

TEST_CASE("requests are counted and timed under the names of Kubernetes' own clients") {
  const HttpServer server(
      [](const auto& request, auto& response) { response.status = request.target == "/404" ? 404 : 200; });
  prometheus::Registry registry;
  {
    const auto client = connect(server.url(), {}, &registry);
    const auto other = connect(server.url(), {}, &registry);
    CHECK(call(*client, {.target = "/x"}));
    CHECK(call(*other, {.target = "/x"}));
    CHECK_FALSE(call(*client, {.method = Method::kPatch, .target = "/404", .body = "{}"}));
    const auto sink = std::make_shared<RecordingSink>();
    const auto stream = open(*client, watch(), sink);
    sink->wait_for_close();
  }
  const auto closed = "127.0.0.1:" + std::to_string(testing::closed_port());
  CHECK_FALSE(call(*connect("http://" + closed, {}, &registry), {.target = "/x"}));
  const std::string text = prometheus::TextSerializer().Serialize(registry.Collect());
  const auto has = [&](const std::string& line) { return has_line(text, line); };
  const std::string host = "host=\"" + server.address() + "\"";
  CHECK(has("rest_client_requests_total{code=\"200\"," + host + ",method=\"GET\"} 3"));
  CHECK(has("rest_client_requests_total{code=\"404\"," + host + ",method=\"PATCH\"} 1"));
  CHECK(has("rest_client_requests_total{code=\"<error>\",host=\"" + closed + "\",method=\"GET\"} 1"));
  CHECK(has("rest_client_request_duration_seconds_count{" + host + ",verb=\"GET\"} 2"));  // no stream
  CHECK(has("rest_client_request_duration_seconds_bucket{" + host + ",verb=\"PATCH\",le=\"60\"} 1"));
}

TEST_CASE("a request is logged at debug level, without its query") {
  const HttpServer server(echo);
  const auto lines = std::make_shared<std::string>();
  {
    ClusterConfig config;
    config.server = server.url();
    const auto client = Client::create(config, {}, nullptr, Logger::to_string(lines));
    REQUIRE(client);
    CHECK(call(**client, {.target = "/x?secret=1"}));
  }
  CHECK(lines->find("GET /x") != std::string::npos);
  CHECK(lines->find("secret") == std::string::npos);
}

}  // namespace
}  // namespace sharder::kube
