#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "kube/codec/object_meta.h"
#include "kube/codec/raw_event_internal.h"
#include "kube/codec/status.h"

// Metadata in the API server's protobuf; for .cc files of kube/ only. Field numbers as in the .proto files of
// k8s.io/apimachinery (runtime.Unknown, metav1), which never change.
namespace sharder::kube {

// Whether an answer's body is protobuf: it begins with four bytes that no JSON begins with.
bool is_protobuf(std::string_view body);

// A metav1.PartialObjectMetadata. kInvalid for anything else.
Result<ObjectMeta> decode_protobuf_object(std::string_view body);

// A metav1.PartialObjectMetadataList: as ObjectMetaDecoder::decode_list().
Result<std::string> decode_protobuf_list(std::string_view body,
                                         const std::function<void(const Result<ObjectMeta>&)>& consumer);

// A metav1.WatchEvent, which has no envelope in its frame. Of its object, only what RawEvent shows is checked. kInvalid
// for anything else.
Result<RawEvent> decode_protobuf_event(std::string_view frame);

// A metav1.Status. kInvalid for anything else.
Result<Status> decode_protobuf_status(std::string_view body);

}  // namespace sharder::kube
