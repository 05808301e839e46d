#pragma once

#include <string>

namespace sharder::app {

// The commit that the program was built from: git's, "-dirty" behind it when sources differed from it; SHARDER_COMMIT
// where there is no git; else "unknown". cmake/WriteCommit.cmake writes the one source file that defines it.
extern const char* const kCommit;

// "0.1.0".
std::string version();

// What --version prints: a line for each of "sharder VERSION", "commit COMMIT" and "compiler NAME VERSION".
std::string version_text();

}  // namespace sharder::app
