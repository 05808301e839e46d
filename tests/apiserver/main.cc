#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
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

constexpr const char* kUsage =
    "An embedded Kubernetes API server for tests, on 127.0.0.1.\n"
    "  --port N            0, the default: a free one\n"
    "  --kubeconfig FILE   to write\n"
    "  --audit-log FILE    one line of JSON per request\n"
    "  --audit-level LEVEL Metadata, the default, or RequestResponse: with the bodies of writes\n"
    "  --crd FILE          a CustomResourceDefinition (YAML); may be given again\n"
    "  --no-watch-list     refuse sendInitialEvents\n"
    "  --history N         versions kept per resource\n"
    "  --service NAMESPACE/NAME:PORT=HOST:PORT   where a webhook's service is; may be given again\n";

int number(const std::string& flag, const std::string& text, int max) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0 || value > max) {
    throw std::runtime_error(flag + ": a number is expected");
  }
  return value;
}

AuditLevel audit_level(const std::string& text) {
  if (text != "Metadata" && text != "RequestResponse") {
    throw std::runtime_error("--audit-level: Metadata or RequestResponse is expected");
  }
  return text == "Metadata" ? AuditLevel::kMetadata : AuditLevel::kRequestResponse;
}

void add_service(const std::string& text, ServerOptions& options) {
  const std::size_t sign = text.find('=');
  if (sign == std::string::npos) {
    throw std::runtime_error("--service: NAMESPACE/NAME:PORT=HOST:PORT is expected");
  }
  options.services[text.substr(0, sign)] = text.substr(sign + 1);
}

void read_flags(int argc, char** argv, ServerOptions& options, std::string& kubeconfig) {
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--help") {
      std::cout << kUsage;
      std::exit(0);
    }
    if (flag == "--no-watch-list") {
      options.streaming_lists = false;
      continue;
    }
    const std::string value = ++i < argc ? argv[i] : throw std::runtime_error(flag + ": needs a value");
    if (flag == "--port") {
      options.port = number(flag, value, 65535);
    } else if (flag == "--kubeconfig") {
      kubeconfig = value;
    } else if (flag == "--audit-log") {
      options.audit_log = value;
    } else if (flag == "--audit-level") {
      options.audit_level = audit_level(value);
    } else if (flag == "--crd") {
      options.definitions.push_back(read_definition(value));
    } else if (flag == "--history") {
      options.history = static_cast<std::size_t>(number(flag, value, std::numeric_limits<int>::max()));
    } else if (flag == "--service") {
      add_service(value, options);
    } else {
      throw std::runtime_error("unknown flag " + flag);
    }
  }
}

int run(int argc, char** argv) {
  ServerOptions options;
  std::string kubeconfig;
  read_flags(argc, argv, options, kubeconfig);

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
