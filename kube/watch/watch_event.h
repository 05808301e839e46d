#pragma once

#include <string_view>

namespace sharder::kube {

enum class WatchEventType {
  kInit,       // a list begins: the objects that are shown until kInitDone are all there are; again when one failed
  kInitApply,  // one of them
  kInitDone,   // the list is complete
  kApply,      // an object was added or changed
  kDelete,     // an object went, or no longer matches the selector; `object` is its last state. Also before kInitDone,
               // of an object that was shown since kInit
};

// One step of a list and watch. The view lives until the sink has returned.
struct WatchEvent {
  WatchEventType type;
  // JSON; with metadata_only what ObjectMetaDecoder reads. "" for kInit and kInitDone. Items of a list have no kind and
  // apiVersion of their own.
  std::string_view object;
};

}  // namespace sharder::kube
