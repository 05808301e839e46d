#include "ctl/support_bundle.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include <nlohmann/json.hpp>

#include "ctl/archive.h"

using namespace sharder;
using namespace sharder::ctl;
using nlohmann::json;

namespace {

std::string unpacked(std::string gz) {
  z_stream stream{};
  REQUIRE(inflateInit2(&stream, 15 + 16) == Z_OK);
  std::string bytes(100'000, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(gz.data());
  stream.avail_in = static_cast<uInt>(gz.size());
  stream.next_out = reinterpret_cast<Bytef*>(bytes.data());
  stream.avail_out = static_cast<uInt>(bytes.size());
  REQUIRE(inflate(&stream, Z_FINISH) == Z_STREAM_END);
  bytes.resize(stream.total_out);
  inflateEnd(&stream);
  return bytes;
}

}  // namespace

TEST_CASE("an archive has its files in the format of tar, and the same input gives the same bytes") {
  const std::map<std::string, std::string> files{{"b.txt", "two"}, {"a.txt", std::string(600, 'x')}};
  const std::string tar = unpacked(tar_gz("top", files));
  CHECK(tar.size() == 512 + 1024 + 512 + 512 + 1024);
  CHECK(tar.substr(0, 9) == "top/a.txt");
  CHECK(tar.substr(124, 11) == "00000001130");  // 600 in octal
  CHECK(tar.substr(257, 5) == "ustar");
  CHECK(tar.substr(512, 600) == std::string(600, 'x'));
  CHECK(tar.substr(1536, 9) == "top/b.txt");
  CHECK(tar.substr(2048, 3) == "two");
  CHECK(tar_gz("top", files) == tar_gz("top", files));
}

TEST_CASE("annotations, managedFields, and values of variables and headers stay out of a bundle") {
  const json pod_spec{{"containers",
                       {{{"name", "sharder"},
                         {"env", {{{"name", "TOKEN"}, {"value", "marker"}}, {{"name", "FROM"}, {"valueFrom", {}}}}}}}}};
  const json annotated{{"name", "x"}, {"annotations", {{"a", "marker"}}}, {"managedFields", {"marker"}}};
  const json pod = without_secrets({{"metadata", annotated}, {"spec", pod_spec}});
  CHECK(pod["metadata"] == json{{"name", "x"}});
  CHECK(pod["spec"]["containers"][0]["env"][0] == json{{"name", "TOKEN"}, {"value", "(removed)"}});
  const json deployment = without_secrets(
      {{"metadata", annotated}, {"spec", {{"template", {{"metadata", annotated}, {"spec", pod_spec}}}}}});
  CHECK_FALSE(deployment.dump().contains("marker"));
  for (const char* const containers : {"initContainers", "ephemeralContainers"}) {
    const json other = without_secrets({{"spec", {{containers, pod_spec["containers"]}}}});
    CHECK(other["spec"][containers][0]["env"][0]["value"] == "(removed)");
  }
  const json header{{"name", "Authorization"}, {"value", "marker"}};
  const json get{{"httpGet", {{"path", "/"}, {"httpHeaders", {header}}}}};
  const json container{{"livenessProbe", get}, {"lifecycle", {{"preStop", get}}}};
  const json probed = without_secrets({{"spec", {{"containers", {container}}}}});
  CHECK_FALSE(probed.dump().contains("marker"));
  CHECK(probed["spec"]["containers"][0]["livenessProbe"]["httpGet"]["httpHeaders"][0]["name"] == "Authorization");
  CHECK(without_secrets(json::object()) == json::object());
}
