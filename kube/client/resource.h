#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kube/client/request.h"
#include "kube/codec/precondition.h"

namespace sharder::kube {

// A resource as the API server serves it.
struct Resource {
  std::string group;    // "" is core
  std::string version;  // "v1"
  std::string plural;   // "secrets"
  std::string kind;     // "Secret"
  bool namespaced = true;
  bool operator==(const Resource&) const = default;
};

inline const Resource kLeases{"coordination.k8s.io", "v1", "leases", "Lease", true};
inline const Resource kNamespaces{"", "v1", "namespaces", "Namespace", false};
inline const Resource kSecrets{"", "v1", "secrets", "Secret", true};
inline const Resource kEvents{"", "v1", "events", "Event", true};
inline const Resource kMutatingWebhookConfigurations{
    "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", false};
inline const Resource kControllerRings{"sharding.timebertt.dev", "v1alpha1", "controllerrings", "ControllerRing",
                                       false};
inline const Resource kTokenReviews{"authentication.k8s.io", "v1", "tokenreviews", "TokenReview", false};
inline const Resource kSubjectAccessReviews{"authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview",
                                            false};

using Query = std::initializer_list<std::pair<std::string_view, std::string_view>>;

// "/apis/apps/v1/namespaces/ns/deployments/name/status?key=value": parts and values percent-encoded, pairs with an
// empty value left out. `object_namespace` "" for cluster-scoped resources and for lists over all namespaces.
std::string path(const Resource& resource, std::string_view object_namespace, std::string_view name = {},
                 std::string_view subresource = {}, Query query = {});

// Percent-encodes everything but RFC 3986's unreserved characters.
std::string percent_encode(std::string_view text);

inline constexpr std::string_view kMergePatch = "application/merge-patch+json";
inline constexpr std::string_view kApplyPatch = "application/apply-patch+yaml";
// Accept header for lists that show only metadata (metav1.PartialObjectMetadataList).
inline constexpr std::string_view kMetadataOnlyList =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
// The same for watches, and for single objects.
inline constexpr std::string_view kMetadataOnlyWatch =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
// Metadata in protobuf where the server has it, which costs both sides less; ObjectMetaDecoder reads both. Errors come
// in JSON, because clauses with "as=" do not hold for them; only errors in a stream that has begun come in protobuf.
// kCompactMetadata, for patches, has no clause for metadata in JSON, because kube-apiserver parses the header anew for
// each patch: a server without protobuf answers with the whole object.
inline constexpr std::string_view kCompactMetadata =
    "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
inline constexpr std::string_view kCompactMetadataWatch =
    "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,"
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
inline constexpr std::string_view kCompactMetadataList =
    "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,"
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

// The requests of the verbs. Bodies are JSON; a merge patch of an object that others write too carries a Precondition;
// `field_manager` may be "". Adjust timeout and lane where the default is not right.
Request get_request(const Resource& resource, std::string_view object_namespace, std::string_view name);
Request create_request(const Resource& resource, std::string_view object_namespace, std::string body,
                       std::string_view field_manager);
Request update_request(const Resource& resource, std::string_view object_namespace, std::string_view name,
                       std::string_view subresource, const VersionedObject& object, std::string_view field_manager);
Request patch_request(const Resource& resource, std::string_view object_namespace, std::string_view name,
                      std::string_view content_type, std::string body, std::string_view field_manager,
                      std::string_view subresource = {});
// Server-side apply; `force` takes over fields that others own.
Request apply_request(const Resource& resource, std::string_view object_namespace, std::string_view name,
                      std::string body, std::string_view field_manager, bool force);
// A mismatch of resourceVersion, or of `uid` unless that is "", is kConflict.
Request delete_request(const Resource& resource, std::string_view object_namespace, std::string_view name,
                       std::string_view uid, const Precondition& precondition);

}  // namespace sharder::kube
