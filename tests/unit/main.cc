#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <csignal>

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // as in sharder/main.cc: libcurl says goodbye on connections that were cut
  return doctest::Context(argc, argv).run();
}
