#include "sharder/version.h"

namespace sharder::app {

std::string version_text() {
  return std::string("sharder " SHARDER_VERSION "\ncommit ") + kCommit + "\ncompiler " SHARDER_COMPILER "\n";
}

}  // namespace sharder::app
