#include "tests/unit/controllerring/fixture.h"

#include "kube/codec/yaml.h"
#include "tests/support/testdata.h"

namespace sharder::testing {

// As kubectl writes them.
nlohmann::json read_fixture(const std::string& name) {
  return kube::parse_yaml(testdata(("fixtures/" + name).c_str())).value().value;
}

}  // namespace sharder::testing
