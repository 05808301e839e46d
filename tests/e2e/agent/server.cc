#include "server.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <stdexcept>
#include <thread>
#include <tuple>
#include <utility>

namespace agent {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

// Metadata is all that a shard needs to know whose an object is. The server sends the whole object where it cannot.
constexpr const char* kMetadataOnly = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
// As client-go's metadata client asks for it.
constexpr const char* kMetadataStream =
    "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,"
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
constexpr const char* kMetadataOnlyList =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

constexpr timeval kReadDeadline{.tv_sec = 90, .tv_usec = 0};  // above the 60 s of a stream
constexpr timeval kWriteDeadline{.tv_sec = 30, .tv_usec = 0};

bool is_list(const std::string& path) {
  return path.find("limit=") != std::string::npos;
}

// An event of a watch at the beginning of `rest`, and how much of `rest` it takes: 0 when not all of it has come. The
// lengths of frames begin with a zero byte, lines do not.
std::pair<std::string_view, std::size_t> first_event(std::string_view rest) {
  constexpr std::size_t kLength = 4;
  if (!rest.starts_with('\0')) {
    const auto end = rest.find('\n');
    return end == std::string_view::npos ? std::pair(rest, std::size_t{0}) : std::pair(rest.substr(0, end), end + 1);
  }
  std::size_t size = 0;
  for (std::size_t index = 0; index < kLength && index < rest.size(); ++index) {
    size = size << 8U | static_cast<unsigned char>(rest[index]);
  }
  return rest.size() < kLength + size ? std::pair(rest, std::size_t{0})
                                      : std::pair(rest.substr(kLength, size), kLength + size);
}

struct Address {
  bool tls;
  std::string host, port;

  explicit Address(const std::string& url) : tls(url.starts_with("https://")) {
    const std::string authority = url.substr(url.find("://") + 3);
    const auto colon = authority.rfind(':');
    host = authority.substr(0, colon);
    port = authority.substr(colon + 1);
  }
};

struct FreeContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using Context = std::unique_ptr<SSL_CTX, FreeContext>;

Context make_context(const Server& server) {
  Context context(SSL_CTX_new(TLS_client_method()));
  bool good = context != nullptr;
  if (good) {
    SSL_CTX_set_read_ahead(context.get(), 1);  // all that came, not record by record
  }
  if (good && !server.ca_file.empty()) {
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    good = SSL_CTX_load_verify_locations(context.get(), server.ca_file.c_str(), nullptr) == 1;
  }
  if (good && !server.certificate_file.empty()) {
    good = SSL_CTX_use_certificate_chain_file(context.get(), server.certificate_file.c_str()) == 1 &&
           SSL_CTX_use_PrivateKey_file(context.get(), server.key_file.c_str(), SSL_FILETYPE_PEM) == 1;
  }
  if (!good) {
    throw std::runtime_error("cannot use the certificates that were given");
  }
  return context;
}

// A connection with deadlines, as a stream that Beast reads from and writes to. A request is one write, header and
// body: thousands of acknowledgements a second are to take next to nothing of a small machine.
class Wire {
 public:
  // Not open() when there is no connection.
  Wire(const Address& address, SSL_CTX* context) {
    addrinfo wanted{};
    wanted.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (getaddrinfo(address.host.c_str(), address.port.c_str(), &wanted, &found) != 0) {
      return;
    }
    fd_ = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &kReadDeadline, sizeof kReadDeadline);
    setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &kWriteDeadline, sizeof kWriteDeadline);
    open_ = connect(fd_, found->ai_addr, found->ai_addrlen) == 0;
    freeaddrinfo(found);
    if (open_ && address.tls) {
      ssl_ = SSL_new(context);
      X509_VERIFY_PARAM* const expected = SSL_get0_param(ssl_);
      if (X509_VERIFY_PARAM_set1_ip_asc(expected, address.host.c_str()) != 1) {
        X509_VERIFY_PARAM_set1_host(expected, address.host.c_str(), 0);
        SSL_set_tlsext_host_name(ssl_, address.host.c_str());
      }
      SSL_set_fd(ssl_, fd_);
      open_ = SSL_connect(ssl_) == 1;
    }
  }
  ~Wire() {
    SSL_free(ssl_);
    if (fd_ >= 0) {
      close(fd_);
    }
  }
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  bool open() const { return open_; }
  int descriptor() const { return fd_; }

  // Waits until there is something to read, and then for what comes together with it; at once while more is there.
  // False after the deadline.
  bool await() const {
    if ((ssl_ != nullptr && SSL_has_pending(ssl_) != 0) || polled(POLLIN, 0) != 0) {
      return true;
    }
    const bool is_readable = polled(POLLIN, static_cast<int>(kReadDeadline.tv_sec) * 1000) != 0;
    std::this_thread::sleep_for(kTogether);
    return is_readable;
  }

  // The server has closed it.
  bool is_closed() const { return (polled(POLLRDHUP, 0) & (POLLRDHUP | POLLHUP | POLLERR)) != 0; }

  // Of a connection that poll() says is readable: whether that is an answer, and not the session tickets that TLS 1.3
  // sends first.
  bool has_answer() {
    if (ssl_ == nullptr || answered_) {
      return true;
    }
    const int flags = fcntl(fd_, F_GETFL);
    fcntl(fd_, F_SETFL, flags | O_NONBLOCK);
    char first = 0;
    const int got = SSL_peek(ssl_, &first, 1);
    answered_ = got > 0 || SSL_get_error(ssl_, got) != SSL_ERROR_WANT_READ;
    fcntl(fd_, F_SETFL, flags);
    return answered_;
  }

  template <typename Buffers>
  std::size_t read_some(const Buffers& buffers, beast::error_code& error) {
    const asio::mutable_buffer to = *asio::buffer_sequence_begin(buffers);
    const auto got = ssl_ != nullptr ? SSL_read(ssl_, to.data(), static_cast<int>(to.size()))
                                     : static_cast<int>(recv(fd_, to.data(), to.size(), 0));
    return result(got, asio::error::eof, error);
  }

  template <typename Buffers>
  std::size_t write_some(const Buffers& buffers, beast::error_code& error) {
    text_.clear();
    for (auto next = asio::buffer_sequence_begin(buffers); next != asio::buffer_sequence_end(buffers); ++next) {
      const asio::const_buffer piece = *next;
      text_.append(static_cast<const char*>(piece.data()), piece.size());
    }
    const auto sent = ssl_ != nullptr ? SSL_write(ssl_, text_.data(), static_cast<int>(text_.size()))
                                      : static_cast<int>(send(fd_, text_.data(), text_.size(), MSG_NOSIGNAL));
    return result(sent, asio::error::broken_pipe, error);
  }

  // The forms that throw: Beast's concept of a stream asks for them.
  std::size_t read_some(const auto& buffers) {
    beast::error_code error;
    const auto count = read_some(buffers, error);
    return error ? throw beast::system_error(error) : count;
  }
  std::size_t write_some(const auto& buffers) {
    beast::error_code error;
    const auto count = write_some(buffers, error);
    return error ? throw beast::system_error(error) : count;
  }

 private:
  static std::size_t result(int count, beast::error_code otherwise, beast::error_code& error) {
    error = count > 0 ? beast::error_code{} : otherwise;
    return count > 0 ? static_cast<std::size_t>(count) : 0;
  }

  short polled(int events, int milliseconds) const {
    pollfd descriptor{.fd = fd_, .events = static_cast<short>(events), .revents = 0};
    poll(&descriptor, 1, milliseconds);
    return descriptor.revents;
  }

  int fd_ = -1;
  SSL* ssl_ = nullptr;
  bool open_ = false;
  bool answered_ = false;  // once
  std::string text_;
};

}  // namespace

struct Connection::Impl {
  explicit Impl(const Server& server) : address(server.url), context(make_context(server)), token(server.token) {}

  http::request<http::string_body> request(http::verb method, const std::string& path) const {
    http::request<http::string_body> result(method, path, 11);
    result.set(http::field::host, address.host + ":" + address.port);
    if (!token.empty()) {
      result.set(http::field::authorization, "Bearer " + token);
    }
    return result;
  }

  // Writes the request; read_header() has the rest, also after a failure.
  void start(http::request<http::string_body> what) {
    outgoing = std::move(what);
    if (wire != nullptr && wire->is_closed()) {
      wire.reset();
    }
    is_reused = wire != nullptr;
    if (!is_reused) {
      connect();
    }
    write();
  }

  void write() {
    beast::error_code error;
    if (wire != nullptr) {
      http::write(*wire, outgoing, error);
    }
    if (error) {
      wire.reset();
    }
  }

  // Reads the answer's header. A connection that the server has closed meanwhile is made anew, once.
  bool read_header(auto& parser) {
    parser.body_limit(boost::none);
    while (true) {
      beast::error_code error = http::error::end_of_stream;
      if (wire != nullptr) {
        http::read_header(*wire, unread, parser, error);
      }
      if (!error) {
        return true;
      }
      wire.reset();
      if (!is_reused || parser.got_some()) {
        return false;
      }
      is_reused = false;
      connect();
      write();
    }
  }

  void connect() {
    unread.clear();
    wire = std::make_unique<Wire>(address, context.get());
    if (!wire->open()) {
      wire.reset();
    }
  }

  Answer finish() {
    http::response_parser<http::string_body> parser;
    if (!read_header(parser)) {
      return {};
    }
    beast::error_code error;
    http::read(*wire, unread, parser, error);
    if (error) {
      wire.reset();
      return {};
    }
    if (!parser.keep_alive()) {
      wire.reset();
    }
    return {static_cast<int>(parser.get().result_int()), std::move(parser.get().body())};
  }

  const Address address;
  const Context context;
  const std::string token;
  std::unique_ptr<Wire> wire;
  http::request<http::string_body> outgoing;
  bool is_reused = false;  // the connection that it was written to first
  beast::flat_buffer unread;
};

Connection::Connection(const Server& server) : impl_(std::make_unique<Impl>(server)) {}

Connection::~Connection() = default;

Connection::Answer Connection::get(const std::string& path) {
  start_get(path);
  return finish();
}

void Connection::start_get(const std::string& path) {
  auto request = impl_->request(http::verb::get, path);
  request.set(http::field::accept, is_list(path) ? kMetadataOnlyList : kMetadataOnly);
  impl_->start(std::move(request));
}

void Connection::start_merge_patch(const std::string& path, const std::string& body) {
  // As a controller that goes on with the object that its patch made.
  auto request = impl_->request(http::verb::patch, path);
  request.set(http::field::content_type, "application/merge-patch+json");
  request.body() = body;
  request.prepare_payload();
  impl_->start(std::move(request));
}

Connection::Answer Connection::finish() {
  return impl_->finish();
}

int Connection::descriptor() const {
  return impl_->wire == nullptr ? -1 : impl_->wire->descriptor();
}

bool Connection::has_answer() {
  return impl_->wire == nullptr || impl_->wire->has_answer();
}

void Connection::close() {
  impl_->wire.reset();
}

int Connection::stream(const std::string& path, const std::function<bool(std::string_view)>& event) {
  auto request = impl_->request(http::verb::get, path);
  request.set(http::field::accept, kMetadataStream);
  http::response_parser<http::buffer_body> parser;
  impl_->start(std::move(request));
  if (!impl_->read_header(parser)) {
    return 0;
  }
  const int status = static_cast<int>(parser.get().result_int());
  std::string rest;
  std::string piece(64 * 1024, '\0');
  while (status == 200 && !parser.is_done()) {
    if (impl_->unread.size() == 0 && !impl_->wire->await()) {
      break;
    }
    auto& body = parser.get().body();
    body.data = piece.data();
    body.size = piece.size();
    body.more = true;
    beast::error_code error;
    http::read_some(*impl_->wire, impl_->unread, parser, error);
    if (error && error != http::error::need_buffer) {
      break;
    }
    rest.append(piece.data(), piece.size() - body.size);
    std::size_t done = 0;
    for (auto [bytes, size] = first_event(rest); size > 0;
         std::tie(bytes, size) = first_event(std::string_view(rest).substr(done))) {
      done += size;
      if (!bytes.empty() && !event(bytes)) {
        impl_->wire.reset();
        return status;
      }
    }
    rest.erase(0, done);
  }
  if (!parser.is_done() || !parser.keep_alive()) {
    impl_->wire.reset();
  }
  return status;
}

}  // namespace agent
