#include "rebalancer/move_requests.h"

#include <string>
#include <string_view>
#include <utility>

#include "kube/client/resource.h"
#include "rebalancer/decision.h"

namespace sharder::rebalancer {

namespace {

constexpr std::string_view kFieldManager = "sharder";

// Perhaps the callback's owner is gone already. Any thread.
void count(const Flight& flight, const Result<kube::Response>& answer, SteadyTime now) {
  if (answer) {
    count(flight, flight.move.decision.kind, now);
  } else if (is_failure(answer.error())) {
    flight.metrics->failed(to_string(answer.error().code));
  }
}

}  // namespace

void MoveRequests::patch(const FlightPointer& flight, const kube::Precondition& precondition,
                         Callback<Patched> callback) {
  kube::Request request =
      kube::patch_request(flight->source.resource(), flight->id.object_namespace, flight->id.name, kube::kMergePatch,
                          patch_body(*flight->entry, flight->move.decision, precondition), kFieldManager);
  request.accept = kube::kCompactMetadata;
  request.lane = kube::Lane::kMove;
  request.still_wanted = [flight, &clock = tools_->clock, current = ring_version_, version = ring_version_->load()] {
    flight->sent = clock.steady();
    return *current == version;
  };
  auto answered = [this, flight, callback = std::move(callback)](Result<kube::Response> answer) mutable {
    if (!answer) {
      callback(std::unexpected(std::move(answer.error())));
      return;
    }
    const auto object = decoder_.decode(answer->body);
    callback(Patched{.was_overloaded = answer->was_overloaded,
                     .has_changed = object && object->resource_version != flight->move.resource_version});
  };
  tools_->api.send(std::move(request), [flight, &clock = tools_->clock, ticket = tools_->leader_work.enter(),
                                        then = lifetime_.bind_on(tools_->control, std::move(answered))](
                                           Result<kube::Response> answer) mutable {
    count(*flight, answer, clock.steady());
    then(std::move(answer));
  });
}

void MoveRequests::list(const FlightPointer& flight, Callback<std::optional<kube::ObjectMeta>> callback) {
  kube::Request request{.target = kube::path(flight->source.resource(), flight->id.object_namespace, {}, {},
                                             {{"fieldSelector", "metadata.name=" + flight->id.name}}),
                        .accept = std::string(kube::kCompactMetadataList),
                        .lane = kube::Lane::kMove};
  auto answered = [this, callback = std::move(callback)](Result<kube::Response> answer) mutable {
    if (!answer) {
      callback(std::unexpected(std::move(answer.error())));
      return;
    }
    std::optional<kube::ObjectMeta> object;
    const auto read = decoder_.decode_list(answer->body, [&object](const Result<kube::ObjectMeta>& item) {
      if (item) {
        object = *item;
      }
    });
    if (read) {
      callback(std::move(object));
    } else {
      callback(std::unexpected(read.error()));
    }
  };
  tools_->api.send(std::move(request), lifetime_.bind_on(tools_->control, std::move(answered)));
}

void MoveRequests::get(const FlightPointer& flight, Callback<kube::ObjectMeta> callback) {
  kube::Request request = kube::get_request(flight->source.resource(), flight->id.object_namespace, flight->id.name);
  request.accept = kube::kCompactMetadata;
  request.lane = kube::Lane::kMove;
  auto answered = [this, callback = std::move(callback)](Result<kube::Response> answer) mutable {
    auto object = answer ? decoder_.decode(answer->body) : std::unexpected(std::move(answer.error()));
    if (object && object->resource_version.empty()) {
      object = fail(ErrorCode::kInvalid, "the API server shows the object without a resourceVersion");
    }
    callback(std::move(object));
  };
  tools_->api.send(std::move(request), lifetime_.bind_on(tools_->control, std::move(answered)));
}

}  // namespace sharder::rebalancer
