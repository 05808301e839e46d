#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/guarded.h"
#include "base/log.h"
#include "kube/client/api.h"
#include "kube/client/object_reference.h"

namespace sharder::kube {

enum class EventType { kNormal, kWarning };

// Writes core/v1 Events, as client-go's legacy recorder does. The same Event again (object, type, reason, message)
// raises the count of the first; of many that differ in the message alone, the tenth and later ones become one Event
// "(combined from similar events): ...". Each object and type has a budget of 25 Events, refilled by one in 5 minutes.
// Fire and forget: a failure is logged at debug level. Safe from any thread.
class EventRecorder {
 public:
  // `component`: source of the Events, "controllerring-controller".
  EventRecorder(Api& api, const Clock& clock, std::string component, Logger log);
  ~EventRecorder();

  void record(const ObjectReference& object, EventType type, std::string_view reason, std::string_view message);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace sharder::kube
