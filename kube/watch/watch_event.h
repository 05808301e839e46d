#pragma once

#include <string_view>

namespace sharder::kube {

enum class WatchEventType {
  kInit,       // a list begins, and until kInitDone all its objects are shown; comes again when a list failed
  kInitApply,  // one of them
  kInitDone,   // the list is complete
  kApply,      // an object was added or changed
  kDelete,     // an object was deleted, or no longer matches the selector; `object` is its last state. Also before
               // kInitDone, for an object that was shown since kInit
};

// One step of a list and watch. The view lives until the sink has returned.
struct WatchEvent {
  WatchEventType type;
  // JSON; with metadata_only, what ObjectMetaDecoder reads. "" for kInit and kInitDone. Items of a list have no kind
  // and apiVersion of their own.
  std::string_view object;
};

}  // namespace sharder::kube
