#include "sharder/version.h"

namespace sharder::app {

std::string version() {
  return SHARDER_VERSION;
}

std::string version_text() {
  return "sharder " + version() + "\ncommit " + kCommit + "\ncompiler " SHARDER_COMPILER "\n";
}

}  // namespace sharder::app
