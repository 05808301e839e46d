#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "rebalancer/tools.h"

namespace sharder::rebalancer {

// Reports the lasting failures of a ring (Tools::report_trouble): each once, and once that it is over, at the latest
// when this is destroyed. On the control loop.
class Troubles {
 public:
  Troubles(std::shared_ptr<Tools> tools, std::string ring);
  ~Troubles();
  Troubles(const Troubles&) = delete;
  Troubles& operator=(const Troubles&) = delete;

  // `what` ("list secrets") has a lasting failure; nullopt: it has none.
  void set(const std::string& what, const std::optional<Error>& error);

 private:
  const std::shared_ptr<Tools> tools_;
  const std::string ring_;
  std::map<std::string, Error> reported_;
};

}  // namespace sharder::rebalancer
