#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/apiserver/body.h"
#include "tests/apiserver/server.h"

// sharder-apiserver: README.md.
namespace {

using namespace sharder::apiserver;  // NOLINT(google-build-using-namespace): the program of this library

nlohmann::json read_definition(const std::string& file) {
  std::ifstream stream(file);
  if (!stream) {
    throw std::runtime_error("cannot read " + file);
  }
  auto definition = parse_yaml(std::string(std::istreambuf_iterator<char>(stream), {}));
  if (!definition) {
    throw std::runtime_error(file + ": " + definition.error().message);
  }
  return std::move(*definition);
}

// Written aside and moved into place: who waits for the file finds it whole.
void write_private(const std::string& file, const std::string& text) {
  const std::string draft = file + ".new";
  const int handle = ::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const bool written = handle >= 0 && ::write(handle, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (handle >= 0) {
    ::close(handle);
  }
  if (!written || std::rename(draft.c_str(), file.c_str()) != 0) {
    throw std::runtime_error("cannot write " + file);
  }
}

int run(int argc, char** argv) {
  CLI::App app("An embedded Kubernetes API server for tests, on 127.0.0.1");
  ServerOptions options;
  std::string kubeconfig;
  std::string audit_log;
  std::vector<std::string> definitions;
  std::vector<std::string> services;
  bool no_watch_list = false;
  app.add_option("--port", options.port, "port, 0: a free one")->check(CLI::Range(0, 65535));
  app.add_option("--kubeconfig", kubeconfig, "kubeconfig to write");
  app.add_option("--audit-log", audit_log, "file for one JSON line per request");
  app.add_option("--crd", definitions, "CustomResourceDefinitions (YAML)");
  app.add_flag("--no-watch-list", no_watch_list, "refuse sendInitialEvents");
  app.add_option("--history", options.history, "versions kept per resource");
  app.add_option("--service", services, "where webhooks' services are: NAMESPACE/NAME:PORT=HOST:PORT");
  CLI11_PARSE(app, argc, argv);
  options.streaming_lists = !no_watch_list;
  if (!audit_log.empty()) {
    options.audit_log = audit_log;
  }
  for (const std::string& service : services) {
    const std::size_t sign = service.find('=');
    if (sign == std::string::npos) {
      throw std::runtime_error("--service: NAMESPACE/NAME:PORT=HOST:PORT is expected");
    }
    options.services[service.substr(0, sign)] = service.substr(sign + 1);
  }
  for (const std::string& file : definitions) {
    options.definitions.push_back(read_definition(file));
  }

  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // for all threads, so that sigwait gets them
  ApiServer server(std::move(options));
  if (!kubeconfig.empty()) {
    write_private(kubeconfig, server.kubeconfig());
  }
  std::cout << "listening on " << server.url() << std::endl;
  int received = 0;
  sigwait(&signals, &received);
  server.stop();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "sharder-apiserver: " << error.what() << '\n';
    return 1;
  }
}
