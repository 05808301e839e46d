#include "kube/codec/object_stripper.h"

#include <doctest/doctest.h>

#include <string>

using sharder::kube::ObjectStripper;

namespace {

std::string stripped(const std::string& object) {
  ObjectStripper stripper;
  const auto text = stripper.strip(object);
  REQUIRE(text);
  return *text;
}

}  // namespace

TEST_CASE("an object loses managedFields, kind and apiVersion, wherever they stand, and nothing else") {
  CHECK(
      stripped(
          R"({"kind":"Secret","apiVersion":"v1","metadata":{"name":"a","managedFields":[{"manager":"m"}]},"data":{"k":"dg=="}})") ==
      R"({"metadata":{"name":"a"},"data":{"k":"dg=="}})");
  CHECK(stripped(R"({"data":null,"metadata":{"managedFields":null,"name":"a"},"kind":"Secret","apiVersion":"v1"})") ==
        R"({"data":null,"metadata":{"name":"a"}})");
  CHECK(stripped(R"({"metadata":{"managedFields":[]}})") == R"({"metadata":{}})");
  CHECK(stripped(R"({"metadata":{"name":"a"}})") == R"({"metadata":{"name":"a"}})");
  CHECK(stripped("{}") == "{}");
}

TEST_CASE("fields of these names are kept elsewhere") {
  const std::string object =
      R"({"metadata":{"kind":"x","apiVersion":"y","labels":{"managedFields":"z"}},"spec":{"kind":"a","managedFields":[1]},"managedFields":2})";
  CHECK(stripped(object) == object);
}

TEST_CASE("what is kept stands as it was written") {
  CHECK(
      stripped(
          R"({ "a\"\u00e4" : [ 1.50e2 , {} ] ,"kind":"K", "metadata" : { "name" : "x\ny" , "managedFields":[ ] } })") ==
      R"({"a\"\u00e4" : [ 1.50e2 , {} ],"metadata" : {"name" : "x\ny"}})");
}

TEST_CASE("what is no object is an error, also in the parts that nobody has looked at") {
  ObjectStripper stripper;
  for (const char* text :
       {"", "{", "[]", "7", "null", R"({"metadata":[]})", R"({"metadata":null})", R"({"metadata":{}} x)",
        R"({"metadata":{},"spec":{"a":tru}})", R"({"metadata":{},"spec":{"a":01}})", R"({"metadata":{},"spec":[1,]})",
        "{\"metadata\":{},\"a\":\"\xff\"}", R"({"metadata":{"name":"a","x"ull}})", R"({"metadata":{"name":})",
        R"({"a"ull})", R"({"metadata":{"name":"secret)"}) {
    CAPTURE(text);
    const auto object = stripper.strip(text);
    REQUIRE_FALSE(object);
    CHECK(object.error().message.find("secret") == std::string::npos);
  }
  CHECK(stripper.strip(R"({"metadata":{}})"));  // nothing is left of what came before
}
