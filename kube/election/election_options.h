#pragma once

#include <chrono>
#include <map>
#include <string>

namespace sharder::kube {

struct LeaderElectionOptions {
  std::string lease_namespace;
  std::string lease_name;
  std::string identity;                            // "<hostname>_<uuid>"; a shard's name
  std::map<std::string, std::string> labels = {};  // that the Lease carries, beside those of others
  // A label that somebody else sets when he has seen who holds the Lease. It is taken away as the Lease is acquired, if
  // it was there and another's or released. The first renewals come sooner, until it is seen.
  std::string seen_label = {};
  // False for a shard: another process may have its name. Then a record under our identity is ours only if this process
  // has written it, and a Lease that somebody has deleted is lost.
  bool unique_identity = true;
  std::chrono::milliseconds lease_duration{15'000};
  std::chrono::milliseconds renew_deadline{10'000};
  std::chrono::milliseconds retry_period{2'000};
};

}  // namespace sharder::kube
