#include "sharder/identity.h"

#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <random>

namespace sharder::app {

std::string make_identity() {
  std::array<char, 256> host{"unknown"};
  gethostname(host.data(), host.size() - 1);
  std::random_device random;
  const auto bits = [&random] { return (std::uint64_t{random()} << 32) | random(); };
  const std::uint64_t high = (bits() & ~0xF000ULL) | 0x4000ULL;       // version 4: random
  const std::uint64_t low = (bits() & ~(3ULL << 62)) | (2ULL << 62);  // variant of RFC 9562
  std::array<char, 37> uuid{};
  std::snprintf(uuid.data(), uuid.size(), "%08x-%04x-%04x-%04x-%012llx", static_cast<unsigned>(high >> 32),
                static_cast<unsigned>(high >> 16 & 0xFFFF), static_cast<unsigned>(high & 0xFFFF),
                static_cast<unsigned>(low >> 48), static_cast<unsigned long long>(low & 0xFFFF'FFFF'FFFFULL));
  return std::string(host.data()) + "_" + uuid.data();
}

}  // namespace sharder::app
