// The HTTP port under any bytes: it must not crash, hang or lose memory, and whatever it answers must be HTTP.
//
// First byte of the input: how the rest is cut into pieces (low 4 bits, 0: not at all), and whether replies come later
// than the handler's return (bit 4). One connection over a socket pair, driven on this thread: no timing, no ports.

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "http/connection.h"
#include "http/loop_state.h"

namespace {

using namespace sharder::http;

void require(bool ok, const char* what) {
  if (!ok) {
    std::fprintf(stderr, "http_port: %s\n", what);
    std::abort();
  }
}

bool is_clean(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos;
}

ServerOptions small_limits() {
  ServerOptions options;
  options.limits.max_header_bytes = 2048;
  options.limits.max_body_bytes = 40'000;
  options.limits.max_buffered_bytes = 300'000;
  return options;
}

// Checks what a handler may rely on, and echoes the body.
class CheckingHandler final : public Handler {
 public:
  void handle(const Request& request, Reply reply) override {
    require(!request.method.empty() && is_clean(request.method), "method");
    require(request.path.starts_with('/') || request.path == "*", "path");
    require(is_clean(request.path) && is_clean(request.query), "target");
    require(is_clean(request.content_type) && is_clean(request.authorization), "header");
    require(request.body.size() <= small_limits().limits.max_body_bytes, "body size");
    unsigned sum = 0;
    for (std::size_t i = 0; i < request.body.size() + kBodyPadding; ++i) {
      sum += static_cast<unsigned char>(request.body.data()[i]);
    }
    Response response{.status = sum == 1 ? 201 : 200, .body = std::string(request.body)};
    is_head.push_back(request.method == "HEAD");
    if (later) {
      waiting.emplace_back(std::move(reply), std::move(response));
    } else {
      reply(std::move(response));
    }
  }

  // Gives the replies that were kept; false when there were none.
  bool answer_waiting() {
    if (waiting.empty()) {
      return false;
    }
    auto [reply, response] = std::move(waiting.front());
    waiting.pop_front();
    reply(std::move(response));
    return true;
  }

  bool later = false;
  std::deque<bool> is_head;  // of each request handled, in order
  std::deque<std::pair<Reply, Response>> waiting;
};

// Takes one answer off `out`; `is_head` when it answers a HEAD, `unsure` when that is not known. True when it closes.
bool check_answer(std::string_view& out, bool is_head, bool unsure) {
  const auto end = out.find("\r\n\r\n");
  require(end != std::string_view::npos, "the answer's head is cut");
  std::string_view head = out.substr(0, end + 2);
  out.remove_prefix(end + 4);
  require(head.starts_with("HTTP/1.1 ") && std::isdigit(head[9]) && std::isdigit(head[10]) && std::isdigit(head[11]) &&
              head[12] == ' ',
          "status line");
  const std::string_view status = head.substr(9, 3);
  std::size_t length = 0;
  bool close = false;
  for (auto line_end = head.find("\r\n"); !head.empty(); line_end = head.find("\r\n")) {
    const std::string_view line = head.substr(0, line_end);
    head.remove_prefix(line_end + 2);
    require(is_clean(line), "control characters");
    require(line.starts_with("HTTP/1.1 ") || line.find(": ") != std::string_view::npos, "header line");
    if (line.starts_with("Content-Length: ")) {
      length = std::strtoul(std::string(line.substr(16)).c_str(), nullptr, 10);
    }
    close = close || line == "Connection: close";
  }
  if (status == "100") {
    return check_answer(out, is_head, unsure);
  }
  if (!is_head && !(unsure && out.empty())) {
    require(out.size() >= length, "the answer's body is cut");
    out.remove_prefix(length);
  }
  return close;
}

void check_answers(std::string_view out, const std::deque<bool>& is_head) {
  bool closed = false;
  std::size_t answers = 0;
  for (; !out.empty() && out != "HTTP/1.1 100 Continue\r\n\r\n"; ++answers) {
    require(!closed, "something follows the last answer");
    const bool handled = answers < is_head.size();
    closed = check_answer(out, handled && is_head[answers], !handled);
    require(handled || closed, "a rejection leaves the connection open");
  }
  require(answers >= is_head.size(), "a request without an answer");
}

class Port {
 public:
  Port() {
    loop_.inbox->bind_thread();
    loop_.on_deadline = [] {};
  }

  void feed(unsigned mode, std::string_view bytes) {
    handler_->later = (mode & 0x10U) != 0;
    handler_->is_head.clear();
    std::array<int, 2> pair = {};
    require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair.data()) == 0, "socketpair");
    const FileDescriptor client(pair[0]);
    std::weak_ptr<Connection> connection;
    {
      const auto made = std::make_shared<Connection>(loop_, FileDescriptor(pair[1]), nullptr, false);
      made->start();
      connection = made;
    }
    std::string out;
    // At most 64 pieces: the time goes into system calls.
    const std::size_t piece =
        (mode & 0xFU) == 0 ? bytes.size() : std::max(std::size_t{1} << ((mode & 0xFU) - 1), bytes.size() / 64);
    while (!bytes.empty()) {
      const ssize_t sent = ::send(client.get(), bytes.data(), std::min(piece, bytes.size()), MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN) {
        break;  // the server has closed
      }
      bytes.remove_prefix(sent > 0 ? static_cast<std::size_t>(sent) : 0);
      run(client.get(), out);
    }
    ::shutdown(client.get(), SHUT_WR);
    for (int turns = 0; !connection.expired(); ++turns) {
      require(turns < 100'000, "the connection hangs");
      run(client.get(), out);
    }
    check_answers(out, handler_->is_head);
    require(state_.budget.left() == small_limits().limits.max_buffered_bytes, "the budget leaks");
    require(loop_.counters.open.load() == static_cast<std::size_t>(-1), "a connection is still counted");
    loop_.counters.open.store(0);
  }

 private:
  void run(int client, std::string& out) {
    do {
      loop_.events.run_ready();
      for (ssize_t received; (received = ::recv(client, received_.data(), received_.size(), 0)) > 0;) {
        out.append(received_.data(), static_cast<std::size_t>(received));
      }
    } while (handler_->answer_waiting());
  }

  std::array<char, 65'536> received_ = {};
  ServerState state_{small_limits(), sharder::Logger::none()};
  CheckingHandler* handler_ = new CheckingHandler;  // owned by the loop
  LoopState loop_{state_, std::unique_ptr<Handler>(handler_)};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Port port;
  if (size > 0) {
    port.feed(data[0], {reinterpret_cast<const char*>(data) + 1, size - 1});
  }
  return 0;
}
