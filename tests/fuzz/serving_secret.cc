// A Secret of any bytes, and certificates and keys of any bytes in it: an answer, or an error that quotes nothing.
#include "certs/serving_secret.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "certs/self_managed.h"
#include "certs/webhook_trust.h"
#include "certs/x509.h"
#include "tests/fuzz/require.h"

using namespace sharder;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto secret = certs::decode_serving_secret(text)) {
    require(!secret->resource_version.empty());
    const bool good = certs::is_good(*secret, {});
    require(!good || certs::belong_together(secret->certificate_pem, secret->private_key_pem));
  }
  static_cast<void>(certs::ca_bundles(text));
  if (const auto found = certs::read_certificates(text)) {
    require(!found->empty());
    for (const certs::CertificateFacts& one : *found) {
      const auto again = certs::read_certificates(one.pem);
      require(again && again->size() == 1 && again->front().pem == one.pem);
    }
  }
  static_cast<void>(certs::verifies(text, text, {}));
  static_cast<void>(certs::belong_together(text, text));
  const auto distrusted = certs::distrust(text, text, "sharder.sharding-system.svc", {});
  require(!distrusted || !distrusted->message.empty());
  return 0;
}
