#include "certs/self_signed.h"

#include <unistd.h>

#include <array>
#include <chrono>
#include <string>

#include "certs/authority.h"

namespace sharder::certs {
namespace {

constexpr std::chrono::seconds kLifetime = std::chrono::days(3650);

}  // namespace

Result<TlsIdentity> self_signed_identity(const Clock& clock) {
  ServerCertificate wanted{.common_name = "localhost",
                           .dns_names = {"localhost"},
                           .ip_addresses = {"127.0.0.1", "::1"},
                           .now = clock.wall(),
                           .lifetime = kLifetime};
  // A host name may hold any characters. One that could break the list of alternative names is left out.
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) == 0) {
    const std::string name(host.data());
    const bool plain =
        name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == std::string::npos;
    if (!name.empty() && plain && name != "localhost") {
      wanted.dns_names.push_back(name);
    }
  }
  return issue_self_signed(wanted);
}

}  // namespace sharder::certs
