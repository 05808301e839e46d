#pragma once

#include <chrono>
#include <memory>
#include <string>

namespace sharder::shard {

class Observer;

// How this process takes part in a ring.
struct Options {
  std::string ring;       // name of the ControllerRing; needed
  std::string name = {};  // of the shard and of its Lease (protocol, 3); "": the host's name, as pods have one
  std::string lease_namespace = {};  // "": the service account's in a pod, else that of the kubeconfig's context
  std::string kubeconfig = {};       // a file; "": $KUBECONFIG, in a pod its service account, ~/.kube/config
  std::string user_agent = "shard";

  // The Lease is valid for renew_deadline after each renewal; observers wait for lease_duration (decision 9).
  // lease_duration > renew_deadline > retry_period > 0.
  std::chrono::milliseconds lease_duration{15'000};
  std::chrono::milliseconds renew_deadline{10'000};
  std::chrono::milliseconds retry_period{2'000};

  // ":8080", "127.0.0.1:0"; "0" or "": none. Both speak HTTP without TLS and answer everybody.
  std::string metrics_address = ":8080";  // /metrics
  std::string health_address = ":8081";   // /healthz, /readyz

  // After SIGTERM, running reconciliations have so long to end. Shorter than the pod's terminationGracePeriodSeconds.
  std::chrono::milliseconds shutdown_grace{25'000};

  std::shared_ptr<Observer> observer = {};  // notified of what this shard does (observer.h); null: nobody
};

}  // namespace sharder::shard
