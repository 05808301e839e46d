#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "rebalancer/tools.h"

namespace sharder::rebalancer {

// What is told of a ring by Tools::report_trouble: each trouble once, and that it is over, at the latest when this is
// destroyed. On the control loop.
class Troubles {
 public:
  Troubles(std::shared_ptr<Tools> tools, std::string ring);
  ~Troubles();
  Troubles(const Troubles&) = delete;
  Troubles& operator=(const Troubles&) = delete;

  // `what` ("list secrets") fails and fails; nullopt: not any more.
  void set(const std::string& what, const std::optional<Error>& error);

 private:
  const std::shared_ptr<Tools> tools_;
  const std::string ring_;
  std::map<std::string, Error> told_;
};

}  // namespace sharder::rebalancer
