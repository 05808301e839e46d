#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/executor.h"
#include "base/log.h"
#include "base/wait_group.h"
#include "certs/authority.h"
#include "certs/certificate_secret.h"
#include "kube/client/api.h"

namespace sharder::certs {

struct CertificateKeeperOptions {
  CertificateSecretOptions secret;
  // selfManaged: the names of the certificate that the leader makes. nullopt: somebody else fills the Secret.
  std::optional<ServerCertificate> makes = {};
  std::string further_roots = {};  // PEM; trusted beside the Secret's, for as long as they are configured
};

// The leader's duties for the serving certificate (decision 8): it gives out the roots that the webhook configurations
// are to trust, and in the mode selfManaged it writes the Secret whenever that needs it.
//
// It begins with the roots that the webhook configurations trust already, so that none of them is forgotten too early.
// Until it has read those and the Secret, it gives out nothing. A Secret that does not exist is also made by a replica
// that does not lead: in a rolling update from another mode, the leader does not know of it.
//
// Lives on the control loop; destroy it when that loop has stopped, or on it.
class CertificateKeeper {
 public:
  // How often it looks at the Secret's times.
  static constexpr std::chrono::minutes kCheckEvery{1};

  // `on_roots` gets each new bundle (PEM, "" when nobody has given a root), on the control loop. `leader_work` has a
  // ticket for each write without an answer. Everything given outlives it.
  using OnRoots = std::function<void(const std::string& bundle_pem)>;
  CertificateKeeper(Executor& control, kube::Api& api, const Clock& clock, CertificateSecret& secret,
                    CertificateKeeperOptions options, OnRoots on_roots, const Logger& log, WaitGroup& leader_work);
  ~CertificateKeeper();
  CertificateKeeper(const CertificateKeeper&) = delete;
  CertificateKeeper& operator=(const CertificateKeeper&) = delete;

  // Begins or stops to act as the leader, soon. Any thread.
  void set_leading(bool leading);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sharder::certs
