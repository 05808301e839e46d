# cmake -DSOURCE=DIR -DOUTPUT=FILE [-DCOMMIT=TEXT] -P WriteCommit.cmake: writes the C++ file that holds the commit, but only
# when the commit has changed. Every build runs it, so that an incremental build names the right commit.
# The commit is the first of: -DSHARDER_COMMIT, the environment's SHARDER_COMMIT, git's (with "-dirty" when a file differs
# from it), "unknown".
cmake_minimum_required(VERSION 3.25)

if(NOT COMMIT)
  set(COMMIT "$ENV{SHARDER_COMMIT}")
endif()
# Without this, git would take the repository of a folder above, in which a tarball was unpacked.
if(NOT COMMIT AND EXISTS "${SOURCE}/.git")
  find_program(GIT git)
  if(GIT)
    execute_process(
      COMMAND "${GIT}" --no-optional-locks -C "${SOURCE}" describe --always --abbrev=40 --exclude=* --dirty
      OUTPUT_VARIABLE COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
endif()
if(NOT COMMIT)
  set(COMMIT unknown)
endif()
if(NOT COMMIT MATCHES "^[0-9A-Za-z._-]+$")
  message(FATAL_ERROR "SHARDER_COMMIT: want letters, digits, \".\", \"_\" and \"-\", got \"${COMMIT}\"")
endif()

set(text "#include \"sharder/version.h\"\n\nnamespace sharder::app {\n\nconst char* const kCommit = \"${COMMIT}\";\n\n}  // namespace sharder::app\n")
if(EXISTS "${OUTPUT}")
  file(READ "${OUTPUT}" old)
endif()
if(NOT "${old}" STREQUAL "${text}")
  file(WRITE "${OUTPUT}" "${text}")
endif()
