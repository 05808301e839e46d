#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "certs/x509.h"

namespace sharder::certs {

// The roots that API servers have to trust (decision 8, "forget last"): those of the Secret, and older ones until an
// hour has passed since the present pair was first shown. Older roots stay for as long as the Secret's pair does not
// verify with the Secret's roots, because replicas then go on with an older pair. Pure; the caller brings the time.
class TrustedRoots {
 public:
  static constexpr std::chrono::hours kOverlap{1};
  // How many older roots are kept, those that were current last: an issuer that rotates all the time must not fill the
  // bundle. Those that were adopted are all kept.
  static constexpr std::size_t kMaxOlder = 8;

  // A bundle that is in force already; its certificates count as older roots. Damaged ones are left out, as in Go.
  void adopt(std::string_view bundle_pem);
  // What the Secret shows now. `chain_pem`: "" when replicas cannot show its pair, whatever the reason.
  void show(std::string_view roots_pem, std::string_view chain_pem, WallTime wall, SteadyTime now);

  // The bundle, the Secret's roots first, each certificate once; "" without any root.
  std::string bundle(WallTime wall, SteadyTime now);

 private:
  void keep(std::vector<CertificateFacts> roots);

  std::vector<CertificateFacts> current_;
  std::vector<CertificateFacts> older_;  // those first that were current last
  std::size_t adopted_ = 0;              // so many of them are in force already
  std::string chain_;
  bool verified_ = false;  // the pair that is shown verifies with the roots that are shown
  SteadyTime shown_since_ = {};
};

}  // namespace sharder::certs
