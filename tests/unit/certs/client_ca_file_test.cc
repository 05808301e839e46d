#include "certs/client_ca_file.h"

#include <doctest/doctest.h>
#include <prometheus/registry.h>

#include <string_view>

#include "tests/support/eventually.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_certificate.h"

// docs/design.md, invariant 14: who may call the webhook is in a file that may change.
namespace {

using namespace sharder;
using namespace sharder::certs;
using sharder::testing::eventually;
using sharder::testing::TempFolder;
using sharder::testing::TestCa;

// The periodic check is put off, so that a test that passes shows that the notice of a change works.
ClientCaFileOptions noticed(const std::filesystem::path& file) {
  return {.file = file, .check_every = std::chrono::hours(1), .retry = std::chrono::milliseconds(5)};
}

ClientCaFileOptions polled(const std::filesystem::path& file) {
  return {.file = file, .check_every = std::chrono::milliseconds(5), .retry = std::chrono::milliseconds(5)};
}

double errors(prometheus::Registry& registry) {
  for (const auto& family : registry.Collect()) {
    if (family.name == "certwatcher_read_certificate_errors_total") {
      return family.metric.at(0).counter.value;
    }
  }
  return -1;
}

int count(std::string_view text, std::string_view part) {
  int found = 0;
  for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) {
    ++found;
  }
  return found;
}

bool trusts(const ClientCaFile& file, const std::string& pem) {
  return *file.authorities().get() == pem;
}

TEST_CASE("a changed file is taken at once, also when a folder behind it is swapped") {
  const TestCa first, second, third;
  const TempFolder folder;
  folder.write("v1/ca.crt", first.certificate_pem());
  folder.write("v2/ca.crt", second.certificate_pem());
  std::filesystem::create_symlink("v1", folder / "..data");
  std::filesystem::create_symlink("..data/ca.crt", folder / "ca.crt");
  prometheus::Registry registry;
  ClientCaFile file(noticed(folder / "ca.crt"), registry, Logger::none());
  REQUIRE(file.start());
  CHECK(trusts(file, first.certificate_pem()));
  std::filesystem::create_symlink("v2", folder / "..data_tmp");
  std::filesystem::rename(folder / "..data_tmp", folder / "..data");
  REQUIRE(eventually([&] { return trusts(file, second.certificate_pem()); }));
  std::filesystem::remove(folder / "ca.crt");
  const std::string both = second.certificate_pem() + third.certificate_pem();
  folder.write("ca.crt", both);
  CHECK(eventually([&] { return trusts(file, both); }));
}

TEST_CASE("a damaged client CA keeps the old one, is logged once, and ends with the next good file (design, 6.14)") {
  const TestCa first, second;
  const auto lines = std::make_shared<std::string>();
  prometheus::Registry registry;
  const TempFolder folder;
  folder.write("ca.crt", first.certificate_pem());
  const std::string damaged = "-----BEGIN CERTIFICATE-----\nQZQZ\n-----END CERTIFICATE-----\n";
  {
    ClientCaFile file(polled(folder / "ca.crt"), registry, Logger::to_string(lines));
    REQUIRE(file.start());
    const auto fails_for_long = [&] {
      const double before = errors(registry);
      return eventually([&] { return errors(registry) >= before + 10; });
    };
    for (const std::string& bad : {std::string(), std::string("nonsense"), second.certificate_pem() + damaged}) {
      folder.write("ca.crt", bad);
      REQUIRE(fails_for_long());
      CHECK(trusts(file, first.certificate_pem()));
    }
    std::filesystem::remove(folder / "ca.crt");
    REQUIRE(fails_for_long());
    CHECK(file.authorities().version() == 1);
    folder.write("ca.crt", second.certificate_pem());
    REQUIRE(eventually([&] { return trusts(file, second.certificate_pem()); }));
  }
  CHECK(count(*lines, "client CA loaded") == 2);
  CHECK(count(*lines, "certificate 2 does not parse") == 1);
  CHECK(count(*lines, "ca.crt: No such file or directory") == 1);
  CHECK(count(*lines, "QZQZ") == 0);
}

TEST_CASE("start fails with file and reason when there is no good file") {
  const TempFolder folder;
  const std::string path = (folder / "ca.crt").string();
  prometheus::Registry registry;
  const auto start = [&] { return ClientCaFile(noticed(path), registry, Logger::none()).start().error().message; };
  CHECK(start() == path + ": No such file or directory");
  folder.write("ca.crt", "nonsense");
  CHECK(start() == path + ": holds no PEM certificate");
  folder.write("ca.crt", TestCa().certificate_pem() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  CHECK(start().starts_with(path + ": certificate 2 does not parse: "));
}

}  // namespace
