#include "kube/watch/watch_decoder.h"
#include "kube/codec/list_page.h"

#include <doctest/doctest.h>

#include "kube/codec/object_meta.h"
#include "tests/support/metadata_protobuf.h"
#include "tests/support/testdata.h"

using namespace sharder;
using namespace sharder::kube;
using sharder::testing::in_envelope;
using sharder::testing::protobuf_event;
using sharder::testing::testdata;

namespace {

struct Seen {
  std::vector<std::string> lines;  // "ADDED 5 {...}"
  std::optional<Error> error;
  bool operator==(const Seen& other) const {
    return lines == other.lines && error.has_value() == other.error.has_value();
  }
};

std::string describe(const WatchMessage& message) {
  static constexpr const char* kNames[] = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"};
  std::string line = kNames[static_cast<int>(message.type)];
  line += message.initial_events_end ? "! " : " ";
  return line.append(message.resource_version).append(" ").append(message.object);
}

void feed(WatchDecoder& decoder, std::string_view chunk, Seen& seen) {
  const auto fed = decoder.feed(chunk, [&](const WatchMessage& message) {
    seen.lines.push_back(describe(message));
    return true;
  });
  if (!fed) {
    seen.error = fed.error();
  }
}

Seen decode(std::string_view stream, std::size_t chunk_bytes = std::string_view::npos) {
  WatchDecoder decoder;
  Seen seen;
  while (!stream.empty() && !seen.error) {
    feed(decoder, stream.substr(0, chunk_bytes), seen);
    stream.remove_prefix(std::min(chunk_bytes, stream.size()));
  }
  return seen;
}

using Lines = std::vector<std::string>;

constexpr std::string_view kStream =
    R"({"type":"ADDED","object":{"kind":"Lease","metadata":{"name":"a","resourceVersion":"5"}}})"
    "\n"
    R"({"type":"MODIFIED","object":{"metadata":{"resourceVersion":"6","name":"a\"\\}"},"spec":{"x":[1,{"y":"}\n"}]}}})"
    "\n\n"
    R"( { "object" : { "metadata" : { "resourceVersion" : "7" } } , "type" : "DELETED" } )"
    "\r\n"
    R"({"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9","annotations":{"k8s.io/initial-events-end":"true"}}}})"
    "\n";

}  // namespace

TEST_CASE("a stream is cut into its events") {
  const Seen seen = decode(kStream);
  CHECK_FALSE(seen.error);
  CHECK(
      seen.lines ==
      Lines{R"(ADDED 5 {"kind":"Lease","metadata":{"name":"a","resourceVersion":"5"}})",
            R"(MODIFIED 6 {"metadata":{"resourceVersion":"6","name":"a\"\\}"},"spec":{"x":[1,{"y":"}\n"}]}})",
            R"(DELETED 7 { "metadata" : { "resourceVersion" : "7" } })",
            R"(BOOKMARK! 9 {"metadata":{"resourceVersion":"9","annotations":{"k8s.io/initial-events-end":"true"}}})"});
}

TEST_CASE("where the chunks of a stream begin and end does not matter") {
  const Seen whole = decode(kStream);
  for (std::size_t bytes = 1; bytes <= kStream.size(); ++bytes) {
    CAPTURE(bytes);
    CHECK(decode(kStream, bytes) == whole);
  }
}

TEST_CASE("an event without its newline is not shown yet") {
  WatchDecoder decoder;
  Seen seen;
  feed(decoder, R"({"type":"ADDED","object":{"metadata":{}}})", seen);
  CHECK(seen.lines.empty());
  feed(decoder, "\n", seen);
  CHECK(seen.lines == Lines{R"(ADDED  {"metadata":{}})"});
}

TEST_CASE("only a bookmark with the annotation ends the initial events") {
  CHECK(decode(R"({"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"1"}}})"
               "\n")
            .lines[0]
            .starts_with("BOOKMARK 1"));
  CHECK(decode(R"({"type":"BOOKMARK","object":{"metadata":{"annotations":{"k8s.io/initial-events-end":"false"}}}})"
               "\n")
            .lines[0]
            .starts_with("BOOKMARK "));
  CHECK(decode(R"({"object":{"metadata":{"annotations":{"k8s.io/initial-events-end":"true"}}},"type":"BOOKMARK"})"
               "\n")
            .lines[0]
            .starts_with("BOOKMARK!"));
  CHECK(decode(R"({"object":{"metadata":{"annotations":{"k8s.io/initial-events-end":"true"}}},"type":"ADDED"})"
               "\n")
            .lines[0]
            .starts_with("ADDED "));
}

TEST_CASE("an ERROR event fails like an answer with its Status") {
  const auto error = [](const std::string& status) {
    const Seen seen = decode(R"({"type":"ERROR","object":)" + status + "}\n");
    REQUIRE(seen.error.has_value());
    CHECK(seen.lines.empty());
    return *seen.error;
  };
  const Error gone = error(
      R"({"kind":"Status","status":"Failure","message":"too old resource version: 1","reason":"Expired","code":410})");
  CHECK(gone.code == ErrorCode::kGone);
  CHECK(gone.http_status == 410);
  CHECK(gone.reason == "Expired");
  CHECK(gone.message.find("too old resource version") != std::string::npos);

  const Error busy = error(R"({"code":429,"details":{"retryAfterSeconds":7}})");
  CHECK(busy.code == ErrorCode::kUnavailable);
  CHECK(busy.retry_after == std::chrono::seconds(7));

  CHECK(error(R"({"code":500,"reason":"InternalError","details":null})").code == ErrorCode::kUnavailable);
  CHECK(error(R"({"code":200})").code == ErrorCode::kUnavailable);
  CHECK(error(R"({"code":"x","details":{"retryAfterSeconds":"x"}})").code == ErrorCode::kUnavailable);
  CHECK(error(R"({})").code == ErrorCode::kUnavailable);
  CHECK(error(R"({"code":410,"message":nonsense})").code == ErrorCode::kInvalid);
}

TEST_CASE("what is no event is an error, never a crash") {
  for (const char* line : {
           "x",
           "[]",
           "1",
           "null",
           "{}",
           "{\"type\":\"ADDED\"}",
           R"({"object":{}})",
           R"({"type":"ADDED","object":null})",
           R"({"type":"ADDED","object":[]})",
           R"({"type":"ADDED","object":"x"})",
           R"({"type":1,"object":{}})",
           R"({"type":"CHANGED","object":{}})",
           R"({"type":"ADDED","object":{"metadata":1}})",
           R"({"type":"ADDED","object":{"metadata":{"resourceVersion":5}}})",
           R"({"type":"BOOKMARK","object":{"metadata":{"annotations":{"k8s.io/initial-events-end":true}}}})",
           R"({"type":"ADDED","object":{"a":)",
           R"({"type":"ADDED","object":{}} {})",
           R"({"type":"ADDED","object":{}}})",
           "{\"type\":\"ADDED\",\"object\":{\"a\":\"\xff\"}}",
           "{\"type\":\"ADDED\",\"object\":{\"a\":\"",
           "\x1f\x8b\x08",
       }) {
    CAPTURE(line);
    const Seen seen = decode(std::string(line) + "\n");
    REQUIRE(seen.error.has_value());
    CHECK(seen.error->code == ErrorCode::kInvalid);
    CHECK(seen.error->message.starts_with("not a watch event"));
    CHECK(seen.lines.empty());
  }
}

TEST_CASE("the last of duplicate fields counts") {
  CHECK(
      decode(
          R"({"type":"DELETED","type":"ADDED","object":{"a":1},"object":{"metadata":{"resourceVersion":"1","resourceVersion":"2"}}})"
          "\n")
          .lines[0]
          .starts_with("ADDED 2 {\"metadata\""));
}

TEST_CASE("objects before a broken event are shown") {
  const Seen seen = decode(std::string(kStream) + "broken\n" + std::string(kStream));
  CHECK(seen.lines.size() == 4);
  CHECK(seen.error.has_value());
}

TEST_CASE("a consumer that has enough is not called again") {
  WatchDecoder decoder;
  int calls = 0;
  CHECK(decoder.feed(kStream, [&](const WatchMessage&) { return ++calls < 2; }).has_value());
  CHECK(calls == 2);
}

TEST_CASE("an event has a largest size") {
  const std::string object(R"({"type":"ADDED","object":{"a":")" + std::string(100, 'x') + "\"}}\n");
  WatchDecoder fits(object.size() - 1);
  Seen seen;
  feed(fits, object + object, seen);
  CHECK_FALSE(seen.error);
  CHECK(seen.lines.size() == 2);

  WatchDecoder small(object.size() - 2);
  feed(small, object, seen);
  REQUIRE(seen.error.has_value());
  CHECK(seen.error->code == ErrorCode::kInvalid);

  WatchDecoder endless(1000);
  Seen unended;
  for (int i = 0; i < 1000 && !unended.error; ++i) {
    feed(endless, "xxxxxxxx", unended);
  }
  CHECK(unended.error.has_value());
  CHECK(endless.buffer_capacity() < 10'000);
}

TEST_CASE("memory that a large event needed is given back") {
  WatchDecoder decoder;
  Seen seen;
  const std::string large = R"({"type":"ADDED","object":{"a":")" + std::string(8 << 20, 'x') + "\"}}\n";
  for (std::size_t at = 0; at < large.size(); at += 16384) {
    feed(decoder, std::string_view(large).substr(at, 16384), seen);
  }
  CHECK(seen.lines.size() == 1);
  CHECK(decoder.buffer_capacity() < (1 << 20));
  feed(decoder, kStream, seen);
  CHECK(seen.lines.size() == 5);
}

// "ADDED 5 name label=value ..."; the object as ObjectMetaDecoder reads it.
Lines metadata_of(std::string_view stream) {
  WatchDecoder decoder;
  Lines lines;
  const auto fed = decoder.feed(stream, [&](const WatchMessage& message) {
    const auto meta = ObjectMetaDecoder().decode(message.object);
    std::string line = describe({.type = message.type,
                                 .object = meta ? std::string_view(meta->name) : std::string_view(),
                                 .resource_version = message.resource_version,
                                 .initial_events_end = message.initial_events_end});
    if (meta) {
      CHECK(meta->resource_version == message.resource_version);
      for (const auto& [key, value] : meta->labels) {
        line.append(" ").append(key).append("=").append(value);
      }
    }
    lines.push_back(std::move(line));
    return true;
  });
  CHECK_MESSAGE(fed, (fed ? "" : fed.error().message));
  return lines;
}

TEST_CASE("a watch in kube-apiserver's protobuf shows what it shows in JSON") {
  const std::string stream = testdata("metadata/watch.pb");
  const Lines lines = metadata_of(stream);
  CHECK(lines == metadata_of(testdata("metadata/watch.json")));
  REQUIRE(lines.size() == 7);
  // The object has the annotation that ends the initial events too.
  CHECK(lines[0] == "ADDED 201 first app=web shard.alpha.sharding.timebertt.dev/r=shard-1");
  CHECK(lines[1] == "BOOKMARK! 201 ");
  CHECK(lines[3].starts_with("MODIFIED 206 first app=web drain=true"));
  CHECK(lines[4].starts_with("DELETED 207 second"));
  CHECK(lines[5] == "BOOKMARK 207 ");

  const Seen whole = decode(stream);
  for (const std::size_t bytes : {1UL, 2UL, 3UL, 4UL, 5UL, 7UL, 100UL, 469UL, 470UL, stream.size() - 1}) {
    CAPTURE(bytes);
    CHECK(decode(stream, bytes) == whole);
  }
}

TEST_CASE("an ERROR event in protobuf fails like one in JSON") {
  const Seen seen = decode(testdata("metadata/expired.pb"));
  REQUIRE(seen.error);
  CHECK(seen.error->code == ErrorCode::kGone);
  CHECK(seen.error->http_status == 410);
  CHECK(seen.error->reason == "Expired");
  const Seen json = decode(testdata("metadata/expired.json"));
  REQUIRE(json.error);
  CHECK(seen.error->message == json.error->message);

  std::string status;
  protozero::pbf_writer fields(status);
  std::string details;
  protozero::pbf_writer(details).add_int32(5, 7);
  fields.add_string(3, "busy");
  fields.add_message(5, details);
  fields.add_int32(6, 429);
  const Seen busy = decode(protobuf_event("ERROR", in_envelope("Status", status)));
  REQUIRE(busy.error);
  CHECK(busy.error->code == ErrorCode::kUnavailable);
  CHECK(busy.error->retry_after == std::chrono::seconds(7));
  CHECK(busy.error->message == "ERROR event: 429 Too Many Requests: busy");
  const Seen empty = decode(protobuf_event("ERROR", in_envelope("Status", "")));
  REQUIRE(empty.error);
  CHECK(empty.error->code == ErrorCode::kUnavailable);
  for (const std::string& object :
       {std::string(), std::string("k8s"), in_envelope("Secret", status), in_envelope("Status", "\x1a\x02\xff\xff"),
        in_envelope("Status", "\x1a\x7f"), in_envelope("Status", "\x18\x01")}) {
    const Seen broken = decode(protobuf_event("ERROR", object));
    REQUIRE(broken.error);
    CHECK(broken.error->code == ErrorCode::kInvalid);
  }
}

TEST_CASE("what is no event in protobuf is an error, never a crash") {
  const std::string good = sharder::testing::protobuf_object({{"metadata", {{"name", "n"}, {"resourceVersion", "5"}}}});
  CHECK(metadata_of(protobuf_event("ADDED", good)) == Lines{"ADDED 5 n"});
  std::string frames[] = {
      std::string("\0\0\0\0", 4),                          // without anything
      std::string("\0\0\0\x02\x0a\x7f", 6),                // cut off
      std::string("\0\0\0\x02\x08\x01", 6),                // a type that is a number
      std::string("\0\0\0\x03\x0a\x01\xff", 7),            // not UTF-8
      protobuf_event("CHANGED", good),                     // of no known type
      protobuf_event("ADDED", ""),                         // without an object
      protobuf_event("ADDED", "{}"),                       // not in an envelope
      protobuf_event("ADDED", in_envelope("Secret", "")),  // of another kind
      protobuf_event("ADDED", good.substr(0, good.size() - 8)),
      protobuf_event("ADDED", in_envelope("PartialObjectMetadata", "\x0a\x02\x30\x01")),  // the version a number
  };
  for (const std::string& frame : frames) {
    CAPTURE(&frame - frames);
    const Seen seen = decode(frame + protobuf_event("ADDED", good));
    REQUIRE(seen.error);
    CHECK(seen.error->code == ErrorCode::kInvalid);
    CHECK(seen.error->message.starts_with("not a watch event"));
    CHECK(seen.lines.empty());
  }
  // Neither a line among frames, nor a frame among lines.
  CHECK(decode(protobuf_event("ADDED", good) + std::string(kStream)).error);
  CHECK(decode(std::string(kStream) + protobuf_event("ADDED", good) + "\n").error);
}

TEST_CASE("in protobuf too, only a bookmark with the annotation ends the initial events") {
  const auto bookmark = [](const char* type, const nlohmann::json& annotations) {
    return metadata_of(protobuf_event(
        type, sharder::testing::protobuf_object(
                  {{"metadata", {{"name", "n"}, {"resourceVersion", "5"}, {"annotations", annotations}}}})));
  };
  const char* const end = "k8s.io/initial-events-end";
  CHECK(bookmark("BOOKMARK", {{"a", "true"}, {end, "true"}, {"z", "false"}}) == Lines{"BOOKMARK! 5 n"});
  CHECK(bookmark("BOOKMARK", {{end, "false"}}) == Lines{"BOOKMARK 5 n"});
  CHECK(bookmark("BOOKMARK", {{"a", "true"}}) == Lines{"BOOKMARK 5 n"});
  CHECK(bookmark("ADDED", {{end, "true"}}) == Lines{"ADDED 5 n"});
}

TEST_CASE("an event in protobuf has a largest size, and gives its memory back") {
  const auto event = [](std::size_t size) {
    return protobuf_event(
        "ADDED", sharder::testing::protobuf_object({{"metadata", {{"name", "n"}, {"uid", std::string(size, 'x')}}}}));
  };
  const std::string frame = event(100);
  Seen seen;
  WatchDecoder fits(frame.size() - 4);
  feed(fits, frame + frame, seen);
  CHECK_FALSE(seen.error);
  CHECK(seen.lines.size() == 2);
  WatchDecoder small(frame.size() - 5);
  feed(small, frame.substr(0, 4), seen);  // its length tells
  REQUIRE(seen.error);
  CHECK(seen.error->code == ErrorCode::kInvalid);
  CHECK_FALSE(decode(std::string_view("\x02\0\0\0", 4)).error);  // as long as is allowed
  CHECK(decode(std::string_view("\x02\0\0\x01", 4)).error);

  WatchDecoder decoder;
  Seen large;
  const std::string bytes = event(8 << 20) + frame;
  for (std::size_t at = 0; at < bytes.size(); at += 16384) {
    feed(decoder, std::string_view(bytes).substr(at, 16384), large);
  }
  CHECK_FALSE(large.error);
  CHECK(large.lines.size() == 2);
  CHECK(decoder.buffer_capacity() < (1 << 20));
}

TEST_CASE("a page of a list is taken apart") {
  std::string text =
      R"({"kind":"SecretList","apiVersion":"v1","metadata":{"resourceVersion":"12","continue":"abc","remainingItemCount":5},)"
      R"("items":[{"metadata":{"name":"a"}} , {"b":[{}]},{}]})";
  const auto page = decode_list_page(text);
  REQUIRE(page.has_value());
  CHECK(page->resource_version == "12");
  CHECK(page->continue_token == "abc");
  CHECK(page->items == std::vector<std::string_view>{R"({"metadata":{"name":"a"}})", R"({"b":[{}]})", "{}"});
}

TEST_CASE("the fields of a list come in any order, an empty list may be null") {
  for (std::string text : {R"({"items":[],"metadata":{"resourceVersion":"1"}})",
                           R"({"metadata":{"resourceVersion":"1","continue":""},"items":null})",
                           " {\n \"items\" : [ ] , \"metadata\" : { \"resourceVersion\" : \"1\" } }\n"}) {
    CAPTURE(text);
    const auto page = decode_list_page(text);
    REQUIRE(page.has_value());
    CHECK(page->resource_version == "1");
    CHECK(page->continue_token.empty());
    CHECK(page->items.empty());
  }
}

TEST_CASE("what is no list is an error, never a crash") {
  for (std::string text :
       {"", "x", "[]", "{}", "null", R"({"items":{}})", R"({"items":[1]})", R"({"items":[{}]}x)", R"({"items":[{})",
        R"({"items":[{}])", R"({"items":[],"metadata":1})", R"({"items":[],"metadata":{"continue":1}})",
        R"({"kind":"Status","code":500})", "<html>", R"({"items":[{"a":")"}) {
    CAPTURE(text);
    const auto page = decode_list_page(text);
    REQUIRE_FALSE(page.has_value());
    CHECK(page.error().code == ErrorCode::kInvalid);
    CHECK(page.error().message.starts_with("not a list"));
  }
}
