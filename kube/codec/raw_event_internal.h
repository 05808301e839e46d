#pragma once

#include <string_view>

// For .cc files of kube/ only.
namespace sharder::kube {

// One event of a watch as it stands in the stream: views of its bytes.
struct RawEvent {
  std::string_view type;
  std::string_view object;            // JSON, or protobuf in its envelope
  std::string_view resource_version;  // of the object; "" when it has none
  bool initial_events_end = false;    // it has the annotation; not only bookmarks may have it
};

inline constexpr std::string_view kInitialEventsEnd = "k8s.io/initial-events-end";

}  // namespace sharder::kube
