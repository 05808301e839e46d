#include "sharder/identity.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <array>
#include <regex>
#include <string>

TEST_CASE("an identity is the host's name and a random UUID of its own") {
  std::array<char, 256> host{};
  REQUIRE(gethostname(host.data(), host.size() - 1) == 0);
  const std::string identity = sharder::app::make_identity();
  const std::string prefix = std::string(host.data()) + "_";
  REQUIRE(identity.starts_with(prefix));
  CHECK(std::regex_match(identity.substr(prefix.size()),
                         std::regex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")));
  CHECK(sharder::app::make_identity() != identity);
}
