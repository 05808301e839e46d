// YAML of any bytes: it becomes JSON, or is refused with its place.
#include "kube/codec/yaml.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tests/fuzz/require.h"

namespace {

int depth_of(const nlohmann::json& value) {
  int depth = 0;
  if (value.is_structured()) {
    for (const nlohmann::json& inner : value) {
      depth = std::max(depth, 1 + depth_of(inner));
    }
  }
  return depth;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto document = sharder::kube::parse_yaml({reinterpret_cast<const char*>(data), size});
  if (!document) {
    require(document.error().code == sharder::ErrorCode::kInvalid);
    require(document.error().message.starts_with("line "));
    return 0;
  }
  require(depth_of(document->value) <= 64);
  // JSON can hold it: dump() throws over what is no UTF-8.
  require(nlohmann::json::accept(document->value.dump()));
  return 0;
}
