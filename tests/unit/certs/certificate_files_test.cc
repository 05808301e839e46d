#include "certs/certificate_files.h"

#include <doctest/doctest.h>
#include <prometheus/registry.h>

#include <map>

#include "tests/support/eventually.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_certificate.h"

// docs/design.md, section 7: reload on change, keep serving the old pair while the new one does not parse.
namespace {

using namespace sharder;
using namespace sharder::certs;
using sharder::testing::eventually;
using sharder::testing::TempFolder;
using sharder::testing::TestCa;
using sharder::testing::TestCertificate;

// A line sink that several threads share.
class Lines {
 public:
  Logger logger() const { return Logger::to_string(lines_); }
  // Only while no thread of the tested object runs.
  const std::string& text() const { return *lines_; }
  int count(std::string_view part) const {
    int found = 0;
    for (auto at = lines_->find(part); at != std::string::npos; at = lines_->find(part, at + 1)) {
      ++found;
    }
    return found;
  }

 private:
  std::shared_ptr<std::string> lines_ = std::make_shared<std::string>();
};

double metric(prometheus::Registry& registry, const std::string& name) {
  for (const auto& family : registry.Collect()) {
    if (family.name == name) {
      REQUIRE(family.metric.size() == 1);
      return family.metric[0].counter.value + family.metric[0].gauge.value;
    }
  }
  return -1;
}

// What the kubelet does with a Secret volume: the files of a version lie in a folder of their own, `..data` points to
// it, the names point through `..data`; a new version renames a new `..data` over the old one.
class SecretVolume {
 public:
  explicit SecretVolume(const TestCertificate& pair) {
    swap_to(pair);
    std::filesystem::create_symlink("..data/tls.crt", folder_ / "tls.crt");
    std::filesystem::create_symlink("..data/tls.key", folder_ / "tls.key");
  }
  void swap_to(const TestCertificate& pair) {
    const std::string version = "..version_" + std::to_string(++versions_);
    folder_.write(version + "/tls.crt", pair.certificate_pem);
    folder_.write(version + "/tls.key", pair.private_key_pem);
    std::filesystem::create_symlink(version, folder_ / "..data_tmp");
    std::filesystem::rename(folder_ / "..data_tmp", folder_ / "..data");
    if (versions_ > 1) {
      std::filesystem::remove_all(folder_ / ("..version_" + std::to_string(versions_ - 1)));
    }
  }
  const std::filesystem::path& path() const { return folder_.path(); }

 private:
  TempFolder folder_;
  int versions_ = 0;
};

// The periodic check is put off, so that a test that passes shows that the notice of a change works.
CertificateFilesOptions noticed(const std::filesystem::path& folder) {
  return {.server = "webhook",
          .folder = folder,
          .check_every = std::chrono::hours(1),
          .retry = std::chrono::milliseconds(5)};
}
// Without a notice: the check finds it.
CertificateFilesOptions polled(const std::filesystem::path& folder) {
  return {.server = "webhook",
          .folder = folder,
          .check_every = std::chrono::milliseconds(5),
          .retry = std::chrono::milliseconds(5)};
}

bool serves(const CertificateFiles& files, const TestCertificate& pair) {
  return files.identity().get()->certificate_chain_pem == pair.certificate_pem &&
         files.identity().get()->private_key_pem == pair.private_key_pem;
}

TEST_CASE("a swapped Secret volume is served as soon as it is swapped") {
  const TestCa ca;
  const SystemClock clock;
  prometheus::Registry registry;
  const TestCertificate first = ca.issue({.valid_for = std::chrono::hours(1)});
  SecretVolume volume(first);
  CertificateFiles files(noticed(volume.path()), clock, registry, Logger::none());
  REQUIRE(files.start());
  CHECK(serves(files, first));
  TestCertificate next;
  for (int version = 2; version < 12; ++version) {
    next = ca.issue({.valid_for = std::chrono::hours(version)});
    volume.swap_to(next);
    REQUIRE(eventually([&] { return serves(files, next); }));
  }
  const double expiry = std::chrono::duration<double>(files.identity().get()->not_after.time_since_epoch()).count();
  CHECK(metric(registry, "controller_sharding_certificate_expiry_timestamp_seconds") == expiry);
  CHECK(metric(registry, "certwatcher_read_certificate_total") >= 11);
}

TEST_CASE("files that are written one after the other are taken when both are there") {
  const TestCa ca;
  const SystemClock clock;
  const Lines lines;
  prometheus::Registry registry;
  const TestCertificate first = ca.issue(), second = ca.issue();
  const TempFolder folder;
  folder.write("tls.crt", first.certificate_pem);
  folder.write("tls.key", first.private_key_pem);
  {
    CertificateFiles files(noticed(folder.path()), clock, registry, lines.logger());
    REQUIRE(files.start());
    folder.write("tls.crt", second.certificate_pem);
    REQUIRE(eventually([&] { return metric(registry, "certwatcher_read_certificate_errors_total") >= 1; }));
    CHECK(serves(files, first));
    folder.write("tls.key", second.private_key_pem);
    REQUIRE(eventually([&] { return serves(files, second); }));
  }
  CHECK(lines.count("certificate loaded") == 2);
}

TEST_CASE("a change without a notification is found by the periodic check") {
  const TestCa ca;
  const SystemClock clock;
  prometheus::Registry registry;
  const TestCertificate first = ca.issue(), second = ca.issue();
  // The folder holds links to files elsewhere: nothing in the folder itself changes.
  const TempFolder elsewhere, folder;
  const auto certificate = elsewhere.write("certificate", first.certificate_pem);
  const auto key = elsewhere.write("key", first.private_key_pem);
  std::filesystem::create_symlink(certificate, folder / "tls.crt");
  std::filesystem::create_symlink(key, folder / "tls.key");
  CertificateFiles files(polled(folder.path()), clock, registry, Logger::none());
  REQUIRE(files.start());
  elsewhere.write("certificate", second.certificate_pem);
  elsewhere.write("key", second.private_key_pem);
  CHECK(eventually([&] { return serves(files, second); }));
}

TEST_CASE("a bad pair leaves the old one, is said once, and ends with the next good pair") {
  const TestCa ca;
  const SystemClock clock;
  const Lines lines;
  prometheus::Registry registry;
  const TestCertificate first = ca.issue(), second = ca.issue();
  const TempFolder folder;
  folder.write("tls.crt", first.certificate_pem);
  folder.write("tls.key", first.private_key_pem);
  const auto errors = [&] { return metric(registry, "certwatcher_read_certificate_errors_total"); };
  {
    CertificateFiles files(polled(folder.path()), clock, registry, lines.logger());
    REQUIRE(files.start());
    const auto version = files.identity().version();
    folder.write("tls.crt", "nonsense");
    REQUIRE(eventually([&] { return errors() >= 10; }));
    std::filesystem::remove(folder / "tls.key");
    folder.write("tls.crt", first.certificate_pem);
    const double before = errors();
    REQUIRE(eventually([&] { return errors() >= before + 10; }));
    CHECK(serves(files, first));
    CHECK(files.identity().version() == version);
    folder.write("tls.crt", second.certificate_pem);
    folder.write("tls.key", second.private_key_pem);
    REQUIRE(eventually([&] { return serves(files, second); }));
  }
  CHECK(lines.count("certificate not reloaded, the old one stays") >= 2);
  CHECK(lines.count("tls.crt: holds no PEM certificate") == 1);
  CHECK(lines.count("tls.key: No such file or directory") == 1);
  CHECK(lines.count("certificate loaded") == 2);
}

TEST_CASE("when the old pair comes back whole, that is said too") {
  const TestCa ca;
  const SystemClock clock;
  const Lines lines;
  prometheus::Registry registry;
  const TestCertificate pair = ca.issue();
  const TempFolder folder;
  folder.write("tls.crt", pair.certificate_pem);
  folder.write("tls.key", pair.private_key_pem);
  const auto reads = [&] { return metric(registry, "certwatcher_read_certificate_total"); };
  const auto errors = [&] { return metric(registry, "certwatcher_read_certificate_errors_total"); };
  {
    CertificateFiles files(polled(folder.path()), clock, registry, lines.logger());
    REQUIRE(files.start());
    folder.write("tls.key", "nonsense");
    REQUIRE(eventually([&] { return errors() >= 3; }));
    folder.write("tls.key", pair.private_key_pem);
    const double good = reads() - errors();
    REQUIRE(eventually([&] { return reads() - errors() >= good + 2; }));
    CHECK(files.identity().version() == 1);
  }
  CHECK(lines.count("certificate files are good again") == 1);
  CHECK(lines.count("certificate loaded") == 1);
}

TEST_CASE("a folder that goes away and comes back is watched again") {
  const TestCa ca;
  const SystemClock clock;
  prometheus::Registry registry;
  const TestCertificate first = ca.issue(), second = ca.issue(), third = ca.issue();
  const TempFolder parent;
  parent.write("certs/tls.crt", first.certificate_pem);
  parent.write("certs/tls.key", first.private_key_pem);
  auto options = polled(parent / "certs");
  options.check_every = std::chrono::milliseconds(20);
  CertificateFiles files(options, clock, registry, Logger::none());
  REQUIRE(files.start());
  std::filesystem::remove_all(parent / "certs");
  REQUIRE(eventually([&] { return metric(registry, "certwatcher_read_certificate_errors_total") >= 1; }));
  CHECK(serves(files, first));
  parent.write("certs/tls.crt", second.certificate_pem);
  parent.write("certs/tls.key", second.private_key_pem);
  REQUIRE(eventually([&] { return serves(files, second); }));
  parent.write("certs/tls.crt", third.certificate_pem);
  parent.write("certs/tls.key", third.private_key_pem);
  CHECK(eventually([&] { return serves(files, third); }));
}

TEST_CASE("an expired certificate is served, and a line says so once") {
  const SystemClock clock;
  const Lines lines;
  prometheus::Registry registry;
  const TestCertificate pair = TestCa().issue({.valid_for = std::chrono::seconds(-5)});
  const TempFolder folder;
  folder.write("tls.crt", pair.certificate_pem);
  folder.write("tls.key", pair.private_key_pem);
  {
    CertificateFiles files(polled(folder.path()), clock, registry, lines.logger());
    REQUIRE(files.start());
    REQUIRE(eventually([&] { return metric(registry, "certwatcher_read_certificate_total") >= 5; }));
    CHECK(serves(files, pair));
  }
  CHECK(lines.count("certificate has expired") == 1);
}

TEST_CASE("start fails with file and reason when there is no good pair") {
  const TestCa ca;
  const SystemClock clock;
  prometheus::Registry registry;
  const TestCertificate pair = ca.issue();
  const std::string other_key = ca.issue().private_key_pem;
  const TempFolder folder;
  const std::string certificate = (folder / "a.crt").string(), key = (folder / "a.key").string();
  const auto start = [&] {
    CertificateFilesOptions options = noticed(folder.path());
    options.certificate_name = "a.crt";
    options.key_name = "a.key";
    CertificateFiles files(options, clock, registry, Logger::none());
    const auto started = files.start();
    REQUIRE_FALSE(started);
    CHECK(started.error().code == ErrorCode::kInvalid);
    CHECK(files.identity().get() == nullptr);
    return started.error().message;
  };
  CHECK(start() == certificate + ": No such file or directory");
  folder.write("a.crt", pair.certificate_pem);
  CHECK(start() == key + ": No such file or directory");
  folder.write("a.key", other_key);
  CHECK(start() == key + ": the private key does not belong to the certificate in " + certificate);
  std::filesystem::remove(key);
  std::filesystem::create_directory(key);
  CHECK(start() == key + ": Is a directory");
}

TEST_CASE("read_all gives the good pairs of the folder and of its subfolders, as the kubelet mounts several Secrets") {
  const TestCa ca;
  const TestCertificate pairs[] = {ca.issue(), ca.issue(), ca.issue()};
  const TempFolder folder;
  const auto write = [&](const std::string& name, const TestCertificate& pair) {
    folder.write(name + "/tls.crt", pair.certificate_pem);
    folder.write(name + "/tls.key", pair.private_key_pem);
  };
  const auto chains = [&] {
    Lines lines;
    std::vector<std::string> found;
    for (const TlsIdentity& pair :
         CertificateFiles::read_all({.server = "webhook", .folder = folder.path()}, lines.logger())) {
      found.push_back(pair.certificate_chain_pem);
    }
    return std::pair(found, lines.text());
  };
  CHECK(chains().first.empty());
  write("..data", pairs[0]);
  write("..data/b", pairs[1]);
  write("..data/c", pairs[2]);
  for (const char* name : {"tls.crt", "tls.key", "b", "c"}) {
    std::filesystem::create_symlink(std::string("..data/") + name, folder / name);
  }
  CHECK(chains().first == std::vector{pairs[0].certificate_pem, pairs[1].certificate_pem, pairs[2].certificate_pem});
  folder.write("..data/b/tls.key", "MARKER");
  std::filesystem::remove(folder / "tls.crt");
  const auto [found, text] = chains();
  CHECK(found == std::vector{pairs[2].certificate_pem});
  CHECK(text.contains("certificate files are not used"));
  CHECK_FALSE(text.contains("MARKER"));
}

TEST_CASE("present is true when both files exist") {
  const TempFolder folder;
  CertificateFilesOptions options = noticed(folder.path());
  CHECK_FALSE(CertificateFiles::present(options));
  folder.write("tls.crt", "");
  CHECK_FALSE(CertificateFiles::present(options));
  folder.write("tls.key", "");
  CHECK(CertificateFiles::present(options));
  options.folder = folder / "nowhere";
  CHECK_FALSE(CertificateFiles::present(options));
}

}  // namespace
