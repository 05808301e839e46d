#pragma once

#include <set>

#include "base/error.h"
#include "kube/client/failure_class.h"

namespace sharder::kube {

// The lasting failures of many things that mostly have one reason: which of them are said, so that it is once for all.
// Owned by one thread.
template <typename Thing>
class CommonFailure {
 public:
  // A lasting failure of the thing, or another of its reasons. True: say it.
  bool begins(const Thing& thing, const Error& error) {
    const bool is_first = things_.empty();
    const bool is_known = !things_.insert(thing).second;
    const bool is_news = is_first || (is_known && failure_kind(error) != said_);
    if (is_news) {
      said_ = failure_kind(error);
    }
    return is_news;
  }
  // The thing works, or is not tried any more. True: this was the last one; say that.
  bool ends(const Thing& thing) { return things_.erase(thing) > 0 && things_.empty(); }
  void clear() { things_.clear(); }

  const std::set<Thing>& things() const { return things_; }

 private:
  std::set<Thing> things_;
  FailureKind said_ = {};
};

}  // namespace sharder::kube
