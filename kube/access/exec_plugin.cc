#include "kube/access/exec_plugin.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "base/base64.h"
#include "base/rfc3339.h"
#include "kube/access/token_file.h"
#include "kube/codec/json.h"
#include "kube/codec/pem.h"

extern char** environ;  // NOLINT(readability-redundant-declaration): POSIX declares it nowhere

namespace sharder::kube {

namespace {

constexpr std::size_t kMaxOutputBytes = 1U << 20U;
// How long output is still read after the plugin has ended: something it started may hold the pipe open for ever.
constexpr std::chrono::milliseconds kDrainTime{200};

class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  ~Fd() { reset(); }
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }
  void reset() {
    if (fd_ >= 0) {
      close(std::exchange(fd_, -1));
    }
  }

 private:
  int fd_;
};

struct Pipe {
  Fd read, write;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    return fail(ErrorCode::kUnavailable, std::string("pipe: ") + strerror(errno));
  }
  return Pipe{.read = Fd(ends[0]), .write = Fd(ends[1])};
}

std::vector<std::string> environment_of(const ExecPlugin& plugin, const std::string& info) {
  std::map<std::string, std::string> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view line(*entry);
    if (const auto equals = line.find('='); equals != std::string_view::npos) {
      merged[std::string(line.substr(0, equals))] = line.substr(equals + 1);
    }
  }
  for (const auto& [name, value] : plugin.env) {
    merged[name] = value;
  }
  merged["KUBERNETES_EXEC_INFO"] = info;
  std::vector<std::string> lines;
  lines.reserve(merged.size());
  for (const auto& [name, value] : merged) {
    lines.push_back(std::string(name).append("=").append(value));
  }
  return lines;
}

std::vector<char*> pointers_to(std::vector<std::string>& lines) {
  std::vector<char*> pointers;
  pointers.reserve(lines.size() + 1);
  for (std::string& line : lines) {
    pointers.push_back(line.data());
  }
  pointers.push_back(nullptr);
  return pointers;
}

// Starts the plugin in a process group of its own, with default signals and no descriptors but the three.
Result<pid_t> spawn(const ExecPlugin& plugin, const std::string& info, int output, int errors) {
  std::vector<std::string> arguments = plugin.args;
  arguments.insert(arguments.begin(), plugin.command);
  std::vector<std::string> variables = environment_of(plugin, info);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  pid_t child = -1;
  const int failure = posix_spawnp(&child, plugin.command.c_str(), &actions, &attributes, pointers_to(arguments).data(),
                                   pointers_to(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (failure != 0) {
    return fail(ErrorCode::kUnauthorized, strerror(failure));
  }
  return child;
}

struct Output {
  std::string text, errors;
  int status = 0;  // of waitpid()
};

// Appends what can be read; false at the end of the stream.
bool read_some(int fd, std::string& text) {
  std::array<char, 4096> buffer;
  const ssize_t size = read(fd, buffer.data(), buffer.size());
  if (size > 0) {
    text.append(buffer.data(), std::min(static_cast<std::size_t>(size), kMaxOutputBytes - text.size()));
  }
  return size > 0 || (size < 0 && errno == EINTR);
}

// Reads both streams until the child has ended. Kills its group at the deadline.
Result<Output> collect(pid_t child, Fd output, Fd errors, std::chrono::milliseconds timeout,
                       const std::stop_token& stop) {
  const Fd stopped(eventfd(0, EFD_CLOEXEC));
  const std::stop_callback wake(stop, [&] {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = write(stopped.get(), &one, sizeof one);
  });
  auto deadline = std::chrono::steady_clock::now() + timeout;
  Output result;
  bool ended = false;
  for (;;) {
    if (!ended && waitpid(child, &result.status, WNOHANG) == child) {
      ended = true;
      deadline = std::chrono::steady_clock::now() + kDrainTime;
    }
    const bool late = std::chrono::steady_clock::now() >= deadline;
    if (ended && (late || (output.get() < 0 && errors.get() < 0))) {
      return result;
    }
    if (late || stop.stop_requested()) {
      kill(-child, SIGKILL);
      waitpid(child, &result.status, 0);
      return stop.stop_requested()
                 ? fail(ErrorCode::kCancelled, "cancelled")
                 : fail(ErrorCode::kUnauthorized, "no answer within " + std::to_string(timeout.count() / 1000) + " s");
    }
    // When the pipes close, the plugin usually ends. The timeout is for plugins that close them and go on.
    std::array<pollfd, 3> wanted{pollfd{.fd = output.get(), .events = POLLIN, .revents = 0},
                                 pollfd{.fd = errors.get(), .events = POLLIN, .revents = 0},
                                 pollfd{.fd = ended ? -1 : stopped.get(), .events = POLLIN, .revents = 0}};
    poll(wanted.data(), wanted.size(), output.get() < 0 && errors.get() < 0 ? 5 : 50);
    if (wanted[0].revents != 0 && !read_some(output.get(), result.text)) {
      output.reset();
    }
    if (wanted[1].revents != 0 && !read_some(errors.get(), result.errors)) {
      errors.reset();
    }
  }
}

std::string last_line(std::string_view text) {
  while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ') {
    text.remove_suffix(1);
  }
  const auto newline = text.find_last_of('\n');
  text = newline == std::string_view::npos ? text : text.substr(newline + 1);
  std::string line(text.substr(0, 300));
  std::ranges::replace_if(line, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return line;
}

std::string with_hint(const ExecPlugin& plugin, const std::string& message) {
  std::string hint = plugin.install_hint;
  std::ranges::replace_if(hint, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return hint.empty() ? message : message + " (" + hint + ")";
}

}  // namespace

std::string exec_info(const ClusterConfig& config) {
  nlohmann::json spec = {{"interactive", false}};
  if (config.exec->provide_cluster_info) {
    nlohmann::json cluster = {{"server", config.server}};
    if (!config.tls_server_name.empty()) {
      cluster["tls-server-name"] = config.tls_server_name;
    }
    if (config.insecure_skip_tls_verify) {
      cluster["insecure-skip-tls-verify"] = true;
    }
    if (!config.ca_pem.empty()) {
      cluster["certificate-authority-data"] = encode_base64(config.ca_pem);
    }
    if (!config.proxy_url.empty()) {
      cluster["proxy-url"] = config.proxy_url;
    }
    if (auto extension = parse_json(config.exec->cluster_extension); extension) {
      cluster["config"] = *std::move(extension);
    }
    spec["cluster"] = std::move(cluster);
  }
  const nlohmann::json info = {
      {"apiVersion", config.exec->api_version}, {"kind", "ExecCredential"}, {"spec", std::move(spec)}};
  return info.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Result<ExecCredentials> parse_exec_credential(std::string_view text, const std::string& api_version) {
  const auto parsed = parse_json(text);
  if (!parsed) {
    return fail("standard output", parsed.error());
  }
  const std::string version = string_at(*parsed, "/apiVersion");
  if (string_at(*parsed, "/kind") != "ExecCredential" || version != api_version) {
    return fail(ErrorCode::kInvalid, "standard output: not an ExecCredential of " + api_version);
  }
  if (!parsed->contains("status")) {
    return fail(ErrorCode::kInvalid, "standard output: no status in it");
  }
  ExecCredentials result{.token = string_at(*parsed, "/status/token"),
                         .client_certificate_pem = string_at(*parsed, "/status/clientCertificateData"),
                         .client_key_pem = string_at(*parsed, "/status/clientKeyData"),
                         .expires = std::nullopt};
  if (!valid_header_value(result.token)) {
    return fail(ErrorCode::kInvalid, "standard output: control characters in the token");
  }
  if (result.client_certificate_pem.empty() != result.client_key_pem.empty()) {
    return fail(ErrorCode::kInvalid, "standard output: only one of certificate and key in it");
  }
  if (result.token.empty() && result.client_key_pem.empty()) {
    return fail(ErrorCode::kInvalid, "standard output: neither token nor certificate in it");
  }
  if (!result.client_key_pem.empty()) {
    if (const auto pair = check_key_pair(result.client_certificate_pem, result.client_key_pem); !pair) {
      return fail("standard output: status.clientCertificateData", pair.error());
    }
  }
  if (const std::string expires = string_at(*parsed, "/status/expirationTimestamp"); !expires.empty()) {
    result.expires = parse_rfc3339(expires);
    if (!result.expires) {
      return fail(ErrorCode::kInvalid, "standard output: status.expirationTimestamp is not a time");
    }
  }
  return result;
}

PluginRun run_exec_plugin(const ExecPlugin& plugin, const std::string& info, std::chrono::milliseconds timeout,
                          const std::stop_token& stop) {
  const std::string what = "exec plugin " + plugin.command;
  auto output = make_pipe();
  auto errors = make_pipe();
  if (!output || !errors) {
    return {.credentials = fail(what, !output ? output.error() : errors.error()), .last_words = {}};
  }
  const auto child = spawn(plugin, info, output->write.get(), errors->write.get());
  if (!child) {
    return {.credentials = fail(child.error().code, with_hint(plugin, what + ": " + child.error().message)),
            .last_words = {}};
  }
  output->write.reset();
  errors->write.reset();
  const auto result = collect(*child, std::move(output->read), std::move(errors->read), timeout, stop);
  if (!result) {
    return {.credentials = fail(what, result.error()), .last_words = {}};
  }
  if (!WIFEXITED(result->status) || WEXITSTATUS(result->status) != 0) {
    const std::string end = WIFEXITED(result->status) ? "exit code " + std::to_string(WEXITSTATUS(result->status))
                                                      : "killed by signal " + std::to_string(WTERMSIG(result->status));
    return {.credentials = fail(ErrorCode::kUnauthorized, with_hint(plugin, what + ": " + end)),
            .last_words = last_line(result->errors)};
  }
  auto credentials = parse_exec_credential(result->text, plugin.api_version);
  if (!credentials) {
    return {.credentials = fail(ErrorCode::kUnauthorized, what + ": " + credentials.error().message),
            .last_words = last_line(result->errors)};
  }
  return {.credentials = std::move(credentials), .last_words = {}};
}

}  // namespace sharder::kube
