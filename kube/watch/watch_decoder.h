#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string_view>

#include "base/error.h"

// Decodes watches as far as a ListWatch needs it. Objects are shown as views of their bytes, and the consumer parses
// what it needs of them. In JSON, such a view is UTF-8 with matching quotes and as many brackets closed as opened;
// nothing else is checked.
namespace sharder::kube {

enum class WatchMessageType { kAdded, kModified, kDeleted, kBookmark };

// One event of a watch. The views live until the consumer has returned.
struct WatchMessage {
  WatchMessageType type = WatchMessageType::kAdded;
  std::string_view object;            // JSON object, or metadata in protobuf: ObjectMetaDecoder reads either
  std::string_view resource_version;  // of the object; "" when it has none
  bool initial_events_end = false;    // a bookmark with the annotation k8s.io/initial-events-end=true
};

// Cuts the stream of a watch into its events, in chunks that may begin and end anywhere. They are JSON texts, each
// closed by a newline, or protobuf of PartialObjectMetadata, each behind four bytes of its length (that is how
// kube-apiserver writes them). The first byte shows which. Owned by one thread.
//
// Holds one event and the rest of the last chunk. Memory that a large event needed is freed after it.
class WatchDecoder {
 public:
  // etcd stores objects of up to 1.5 MiB by default. Their JSON may be some times as large.
  static constexpr std::size_t kMaxEventBytes = std::size_t{32} << 20;

  // At most kMaxEventBytes: the first byte of a larger length could also begin a JSON text.
  explicit WatchDecoder(std::size_t max_event_bytes = kMaxEventBytes);
  ~WatchDecoder();

  // Called with each event. False ends feed() there.
  using Consumer = std::function<bool(const WatchMessage&)>;

  // Shows the consumer the events that `chunk` completes. Fails with
  // - the error in an ERROR event, as if the API server had answered with its Status (kube/client/answer_error.h):
  //   kGone for a 410;
  // - kInvalid for anything else that is not an event, and for an event of more than max_event_bytes.
  // After a failure, and after the consumer's false, the decoder is of no further use.
  Result<void> feed(std::string_view chunk, const Consumer& consumer);

  // Bytes that are allocated for text, for tests.
  std::size_t buffer_capacity() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sharder::kube
